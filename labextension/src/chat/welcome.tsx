import type { IPartProps } from './props';

/** The panel before the first question. */
export function Welcome(props: IPartProps): React.ReactElement {
  const { client, conversation, trans, panel } = props;
  const { server, models, isListed } = client.watch.state;
  const openModels = props.openModels();
  const isEmpty = server === 'up' && isListed && !models.length && !panel.model;
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
      {server === 'up' && isListed && !isEmpty && (
        <p>
          {trans.__('Ask a model of this server. A cell, its output or its error can be attached.')}
        </p>
      )}
      {conversation.hasLast && (
        <button className="jp-mod-styled" onClick={() => conversation.restoreLast()}>
          {trans.__('Restore the last conversation')}
        </button>
      )}
    </div>
  );
}
