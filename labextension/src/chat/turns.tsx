import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { useLayoutEffect, useRef } from 'react';

import type { Agent } from '../agent/agent';
import type { Conversation, ISource, ITurn } from './conversation';
import type { ICodeAction } from './markdown';
import { Turn } from './turn';
import { Waiting } from './waiting';

export interface ITurnsProps {
  conversation: Conversation;
  agent: Agent | null;
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
  codeActions: readonly ICodeAction[];
  openSource: (source: ISource) => void;
  /** The model of the next answers. */
  model: () => string;
  /** Return the size of a model's files in bytes, if known. */
  sizeOf: (model: string) => number | undefined;
}

/** The questions and answers, scrolled to the end unless the user has scrolled up. */
export function Turns(props: ITurnsProps): React.ReactElement {
  const { conversation, agent, trans, rendermime, model } = props;
  const list = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const { turns, isRunning } = conversation;
  const last = turns[turns.length - 1];
  useLayoutEffect(() => {
    // Markdown is rendered asynchronously, so only the browser reports that the height has grown.
    const observer = new ResizeObserver(() => {
      if (list.current && follows.current) {
        list.current.scrollTop = list.current.scrollHeight;
      }
    });
    observer.observe(content.current as HTMLElement);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    follows.current = true;
  }, [turns.length]);
  return (
    <div
      className="jpo-list"
      role="log"
      tabIndex={0}
      aria-label={trans.__('Conversation')}
      aria-busy={isRunning}
      ref={list}
      onScroll={({ currentTarget: node }) => {
        follows.current = node.scrollHeight - node.scrollTop - node.clientHeight < 40;
      }}
    >
      <div ref={content}>
        {turns.map((turn, index) => (
          <Turn
            key={index}
            {...{ turn, agent, rendermime, trans }}
            actions={props.codeActions}
            sources={turn.role === 'assistant' ? (turns[index - 1]?.attachments ?? []) : []}
            openSource={props.openSource}
            onEdit={text => void conversation.edit(model(), index, text)}
            onRegenerate={
              turn === last && turn.role === 'assistant' && !isRunning
                ? () => void conversation.regenerate(model())
                : undefined
            }
          />
        ))}
        {isRunning && !last?.content && !isAtWork(last) && <Pending {...props} />}
      </div>
    </div>
  );
}

/** Whether the steps of an answer show what is under way. */
function isAtWork(turn: ITurn | undefined): boolean {
  const steps = turn?.work?.steps ?? [];
  return ['runs', 'asks'].includes(steps[steps.length - 1]?.state);
}

/** The state of an answer before its first text. */
function Pending({ conversation, trans, model, sizeOf }: ITurnsProps): React.ReactElement {
  const { turns, progress, since } = conversation;
  const last = turns[turns.length - 1];
  if (last?.thinking) {
    return (
      <p className="jpo-detail" role="status">
        {trans.__('Thinking…')}
      </p>
    );
  }
  const name = last?.model ?? model();
  return <Waiting key={since} {...{ progress, since, trans }} model={name} size={sizeOf(name)} />;
}
