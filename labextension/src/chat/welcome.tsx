import type { ChatPanel, IChatProps } from './panel';

/** What is shown as long as nothing has been asked. */
export function Welcome(props: IChatProps & { panel: ChatPanel }): React.ReactElement {
  const { client, conversation, trans, panel } = props;
  const { server, models } = client.watch.state;
  const openModels = props.openModels();
  const isEmpty = server === 'there' && !models.length && !panel.model;
  return (
    <div className="jpo-list jpo-welcome">
      {server === 'missing' && <p>{trans.__('This server does not have jupyter-ollama.')}</p>}
      {server === 'down' && <p>{trans.__('The models of this server cannot be reached.')}</p>}
      {isEmpty && <p>{trans.__('No model is installed.')}</p>}
      {isEmpty && openModels && (
        <button className="jp-mod-styled jp-mod-accept" onClick={() => void openModels()}>
          {trans.__('Get a model')}
        </button>
      )}
      {server === 'there' && !isEmpty && (
        <p>
          {trans.__(
            'Ask a model of this server. A cell, its output or its error can go with the question.'
          )}
        </p>
      )}
      {conversation.hasLast && (
        <button className="jp-mod-styled" onClick={() => conversation.bringBack()}>
          {trans.__('Bring the last conversation back')}
        </button>
      )}
    </div>
  );
}
