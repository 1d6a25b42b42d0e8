import { ModeSwitch } from '../agent/modeSwitch';
import { Attached } from '../context/attached';
import { QuestionText } from '../context/questionText';
import type { IPartProps } from './props';

/** The editor of the next question and its attachments. */
export function Input(props: IPartProps): React.ReactElement {
  const { agent, conversation, trans, panel, attachActions } = props;
  const { draft, attachments } = panel;
  const canSend = !!draft.trim() && panel.canAsk;
  const send = async () => {
    if (!canSend) {
      return;
    }
    // Words that were typed without choosing them from the list.
    const reason = panel.mentions.missing(draft).length ? await panel.mentions.complete() : '';
    if (reason) {
      panel.edit({ notice: `${reason} ${trans.__('Send again to ask without it.')}` });
    } else if (panel.draft === draft) {
      const { attachments: all } = panel;
      panel.edit({ draft: '', attachments: [] });
      void panel.ask(draft.trim(), all);
    }
  };
  return (
    <div className="jpo-input">
      <div className="jpo-attach" role="group" aria-label={trans.__('Attach')}>
        <span className="jpo-detail">{trans.__('Attach:')}</span>
        {attachActions.map(({ label, attach }) => (
          <button
            key={label}
            className="jpo-chip"
            onClick={() =>
              void attach()
                .catch((error: Error) => error.message)
                .then(found =>
                  panel.edit(
                    typeof found === 'string'
                      ? { notice: found }
                      : { attachments: [...panel.attachments, ...found] }
                  )
                )
            }
          >
            {label}
          </button>
        ))}
      </div>
      <Attached
        attachments={attachments}
        trans={trans}
        onRemove={one => panel.mentions.remove(one)}
      />
      {agent && (
        <ModeSwitch
          mode={conversation.mode}
          allows={mode => agent.allows(mode)}
          runs={agent.runs}
          problem={panel.problem}
          trans={trans}
          onChoose={mode => conversation.configure({ ...conversation.settings, mode })}
        />
      )}
      <div className="jpo-question-row">
        <QuestionText
          panel={panel}
          mentions={panel.mentions}
          source={props.mentionSource}
          trans={trans}
          onSend={() => void send()}
          onEscape={() => conversation.stop()}
        />
        {conversation.isRunning ? (
          <button className="jp-mod-styled jp-mod-reject" onClick={() => conversation.stop()}>
            {trans.__('Stop')}
          </button>
        ) : (
          <button
            className="jp-mod-styled jp-mod-accept"
            disabled={!canSend}
            onClick={() => void send()}
          >
            {trans.__('Send')}
          </button>
        )}
      </div>
    </div>
  );
}
