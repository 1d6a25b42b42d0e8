import { closeIcon } from '@jupyterlab/ui-components';

import type { IPartProps } from './props';

/** The editor of the next question and its attachments. */
export function Input(props: IPartProps): React.ReactElement {
  const { conversation, trans, panel, attachActions } = props;
  const { draft, attachments } = panel;
  const canSend = !!draft.trim() && panel.canAsk;
  const send = () => {
    if (canSend) {
      panel.edit({ draft: '', attachments: [] });
      void panel.ask(draft.trim(), attachments);
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
      {attachments.length > 0 && (
        <div className="jpo-attach" role="group" aria-label={trans.__('Attached')}>
          {attachments.map((one, index) => (
            <button
              key={index}
              className="jpo-chip jpo-chip-attached"
              aria-label={trans.__('Do not attach %1', one.name)}
              title={one.kind === 'text' ? one.content.slice(0, 500) : one.name}
              onClick={() =>
                panel.edit({ attachments: attachments.filter((_, at) => at !== index) })
              }
            >
              {one.name}
              <closeIcon.react tag="span" height="12px" width="12px" />
            </button>
          ))}
        </div>
      )}
      <div className="jpo-question-row">
        <textarea
          className="jpo-text"
          rows={3}
          value={draft}
          aria-label={trans.__('Your question')}
          placeholder={trans.__('Ask…')}
          title={trans.__('Enter sends, Shift Enter starts a new line, Escape stops the answer')}
          onChange={event => panel.edit({ draft: event.target.value })}
          onKeyDown={event => {
            if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
              event.preventDefault();
              send();
            } else if (event.key === 'Escape') {
              conversation.stop();
            }
          }}
        />
        {conversation.isRunning ? (
          <button className="jp-mod-styled jp-mod-reject" onClick={() => conversation.stop()}>
            {trans.__('Stop')}
          </button>
        ) : (
          <button className="jp-mod-styled jp-mod-accept" disabled={!canSend} onClick={send}>
            {trans.__('Send')}
          </button>
        )}
      </div>
    </div>
  );
}
