import { Clipboard } from '@jupyterlab/apputils';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { copyIcon, editIcon, refreshIcon } from '@jupyterlab/ui-components';
import { useEffect, useRef, useState } from 'react';

import type { Agent } from '../agent/agent';
import { WorkLog } from '../agent/workLog';
import { Action } from '../action';
import { Attached } from './attached';
import type { IAttachment, ISource, ITurn } from './conversation';
import { type ICodeAction, Markdown } from './markdown';
import { Sources } from './sources';
import { usageLine } from './usage';

export interface ITurnProps {
  turn: ITurn;
  agent: Agent | null;
  rendermime: IRenderMimeRegistry;
  actions: readonly ICodeAction[];
  trans: TranslationBundle;
  /** The attachments of the question to an answer. */
  sources: readonly IAttachment[];
  openSource: (source: ISource) => void;
  onEdit: (content: string) => void;
  /** Undefined if the answer cannot be regenerated. */
  onRegenerate?: () => void;
}

/** A question, which can be edited, or an answer. */
export function Turn(props: ITurnProps): React.ReactElement {
  const { turn, trans } = props;
  const [isEdited, setEdited] = useState(false);
  const speaker = turn.role === 'user' ? trans.__('You') : (turn.model ?? trans.__('Model'));
  return (
    <article className={`jpo-turn jpo-turn-${turn.role}`} aria-label={speaker}>
      <header className="jpo-turn-header">
        <span className="jpo-detail">{speaker}</span>
        {turn.role === 'user' && !isEdited && (
          <Action icon={editIcon} label={trans.__('Edit')} onClick={() => setEdited(true)} />
        )}
        {turn.role === 'assistant' && turn.content && (
          <Action
            icon={copyIcon}
            label={trans.__('Copy the answer')}
            onClick={() => Clipboard.copyToSystem(turn.content)}
          />
        )}
        {props.onRegenerate && (
          <Action
            icon={refreshIcon}
            label={trans.__('Regenerate')}
            onClick={() => props.onRegenerate?.()}
          />
        )}
      </header>
      {turn.role === 'assistant' && <Answer {...props} />}
      {turn.role === 'user' && !isEdited && <p className="jpo-question">{turn.content}</p>}
      {isEdited && <EditForm {...props} onEnd={() => setEdited(false)} />}
      {turn.attachments && (
        <div className="jpo-attached">
          {turn.attachments.map((one, index) => (
            <Attached key={index} attachment={one} trans={trans} />
          ))}
        </div>
      )}
    </article>
  );
}

function EditForm(props: ITurnProps & { onEnd: () => void }): React.ReactElement {
  const { turn, trans, onEdit, onEnd } = props;
  const [draft, setDraft] = useState(turn.content);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    form.current?.scrollIntoView({ block: 'nearest' });
  }, []);
  const submit = () => {
    if (draft.trim()) {
      onEnd();
      onEdit(draft.trim());
    }
  };
  return (
    <form
      className="jpo-edit"
      ref={form}
      onSubmit={event => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        className="jpo-text"
        aria-label={trans.__('Edit the question')}
        rows={3}
        autoFocus
        value={draft}
        onChange={event => setDraft(event.target.value)}
        onKeyDown={event => {
          if (event.key === 'Escape') {
            onEnd();
          } else if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
            event.preventDefault();
            submit();
          }
        }}
      />
      <div className="jpo-edit-buttons">
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={onEnd}>
          {trans.__('Cancel')}
        </button>
        <button className="jp-mod-styled jp-mod-accept" disabled={!draft.trim()}>
          {trans.__('Ask')}
        </button>
      </div>
    </form>
  );
}

function Answer(props: ITurnProps): React.ReactElement {
  const { turn, agent, trans, rendermime, actions, sources, onRegenerate } = props;
  const { error, isCutOff, usage } = turn;
  return (
    <>
      {turn.thinking && (
        <details className="jpo-aside">
          <summary>{trans.__('Thinking')}</summary>
          <p>{turn.thinking}</p>
        </details>
      )}
      {turn.work && (
        <WorkLog work={turn.work} isStopped={!!turn.stopped} agent={agent} trans={trans} />
      )}
      <Markdown rendermime={rendermime} text={turn.content} actions={actions} />
      {turn.toolCalls?.map((call, index) => (
        <details className="jpo-aside" key={index}>
          <summary>{trans.__('Calls %1', call.function.name)}</summary>
          <pre>{JSON.stringify(call.function.arguments ?? {}, null, 2)}</pre>
        </details>
      ))}
      {turn.stopped && !turn.work && <p className="jpo-detail">{trans.__('Stopped.')}</p>}
      {(error || isCutOff) && (
        <div className="jpo-failed">
          <p className="jpo-error" role="alert">
            {error || trans.__('The connection was lost before the answer was complete.')}
          </p>
          {onRegenerate && (
            <button className="jp-mod-styled" onClick={onRegenerate}>
              {trans.__('Retry')}
            </button>
          )}
        </div>
      )}
      {sources.length > 0 && turn.content && (
        <Sources {...{ sources, trans }} open={props.openSource} />
      )}
      {usage && <p className="jpo-detail jpo-usage">{usageLine(usage, trans)}</p>}
    </>
  );
}
