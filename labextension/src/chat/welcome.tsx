import { UseSignal } from '@jupyterlab/ui-components';

import { modelAtHand } from '../client';
import { Starters } from '../models/starters';
import { TransferRow } from '../models/transferRow';
import type { IPartProps } from './props';

/** The panel before the first question. */
export function Welcome(props: IPartProps): React.ReactElement {
  const { client, chats, trans } = props;
  const { server, models, isListed } = client.watch.state;
  const isReady = server === 'up' && isListed;
  const isEmpty = isReady && !modelAtHand(client.watch.state);
  const { transfers } = client;
  const { last } = chats;
  return (
    <div className="jpo-list jpo-welcome">
      {server === 'missing' && <p>{trans.__('This server does not have jupyter-ollama.')}</p>}
      {server === 'down' && <p>{trans.__('The models of this server cannot be reached.')}</p>}
      {isEmpty && (
        <UseSignal signal={transfers.changed}>
          {() =>
            transfers.all.length ? (
              <>
                {transfers.all.map(transfer => (
                  <TransferRow key={transfer.name} {...{ transfer, transfers, trans }} />
                ))}
                <p>{trans.__('You can ask as soon as the model is installed.')}</p>
              </>
            ) : (
              <>
                <p>
                  {models.length
                    ? trans.__('No installed model can chat.')
                    : trans.__('No model is installed.')}
                </p>
                <Starters client={client} trans={trans} />
              </>
            )
          }
        </UseSignal>
      )}
      {isReady && !isEmpty && (
        <>
          <p>
            {trans.__(
              'Ask a model of this server. A cell, its output, its error or a file can be attached.'
            )}
          </p>
          <Suggestions {...props} />
        </>
      )}
      {last && (
        <button className="jp-mod-styled" title={last.name} onClick={() => chats.open(last)}>
          {trans.__('Restore the last conversation')}
        </button>
      )}
    </div>
  );
}

/** The questions that fit to what is open. */
function Suggestions({ panel, suggestions, trans }: IPartProps): React.ReactElement {
  return (
    <UseSignal signal={suggestions.changed}>
      {() => (
        <ul className="jpo-suggestions" aria-label={trans.__('Questions to start with')}>
          {suggestions.list().map(({ text, attachments }) => (
            <li key={text}>
              <button
                className="jpo-suggestion"
                disabled={!panel.canAsk}
                onClick={() => void panel.ask(text, attachments)}
              >
                {text}
              </button>
            </li>
          ))}
        </ul>
      )}
    </UseSignal>
  );
}
