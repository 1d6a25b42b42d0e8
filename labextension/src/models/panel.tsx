import type { TranslationBundle } from '@jupyterlab/translation';
import { linkIcon, refreshIcon, UseSignal } from '@jupyterlab/ui-components';
import { useEffect, useState } from 'react';

import { Action } from '../action';
import { modelIcon } from '../icon';
import { Panel } from '../panel';
import type { IServerState } from '../watch';
import type { ModelActions } from './actions';
import { Create } from './create';
import { Details } from './details';
import { LibraryList } from './libraryList';
import { Offer } from './offer';
import { InstalledRow, LoadedRow } from './rows';
import { Starters } from './starters';
import { TransferRow } from './transferRow';

interface IModelsProps {
  actions: ModelActions;
  trans: TranslationBundle;
}

type Tab = 'installed' | 'loaded' | 'library';

/** The models of the server: installed, loaded, and available to pull. */
export class ModelsPanel extends Panel {
  constructor(private readonly _props: IModelsProps) {
    const { actions, trans } = _props;
    super('jupyter-ollama-models', trans.__('Models'), modelIcon, actions.client.watch);
  }

  protected override render(): React.ReactElement {
    const { watch, transfers } = this._props.actions.client;
    return (
      <UseSignal signal={watch.changed} initialArgs={watch.state}>
        {() => (
          <UseSignal signal={transfers.changed}>
            {() => <Models {...this._props} state={watch.state} />}
          </UseSignal>
        )}
      </UseSignal>
    );
  }
}

function Models(props: IModelsProps & { state: IServerState }): React.ReactElement {
  const { actions, trans, state } = props;
  const { client } = actions;
  const { transfers } = client;
  const [tab, setTab] = useState<Tab>('installed');
  const [rights, setRights] = useState({ mayManage: false, mayRun: false });
  useEffect(() => {
    void Promise.all([client.mayManage, client.mayRun]).then(([mayManage, mayRun]) =>
      setRights({ mayManage, mayRun })
    );
  }, [client]);
  const tabs: [Tab, string][] = [
    ['installed', trans.__('Installed')],
    ['loaded', trans.__('Loaded')],
    ...(rights.mayManage ? [['library', trans.__('Library')] as [Tab, string]] : [])
  ];
  const form = { client, trans };
  const row = { actions, trans, ...rights };
  return (
    <>
      <div className="jpo-header">
        <div role="tablist" className="jpo-tabs" aria-label={trans.__('Models')}>
          {tabs.map(([id, label]) => (
            <button
              key={id}
              role="tab"
              id={`jpo-tab-${id}`}
              aria-selected={tab === id}
              aria-controls="jpo-tab-panel"
              onClick={() => setTab(id)}
            >
              {label}
            </button>
          ))}
        </div>
        <Action
          icon={linkIcon}
          label={trans.__('Copy OLLAMA_HOST and the token')}
          onClick={() => actions.copyConnection()}
        />
        <Action
          icon={refreshIcon}
          label={trans.__('Refresh')}
          onClick={() => client.watch.refresh()}
        />
      </div>
      <Offer offer={actions.offer} trans={trans} />
      {transfers.all.map(transfer => (
        <TransferRow key={transfer.name} {...{ transfer, transfers, trans }} />
      ))}
      <div
        className="jpo-list"
        role="tabpanel"
        id="jpo-tab-panel"
        aria-labelledby={`jpo-tab-${tab}`}
      >
        <Reachability state={state} trans={trans} />
        {tab === 'installed' && <Installed {...row} state={state} />}
        {tab === 'loaded' &&
          state.loaded.map(one => <LoadedRow key={one.name} {...row} model={one} />)}
        {tab === 'loaded' && state.server === 'up' && !state.loaded.length && (
          <p className="jpo-detail">{trans.__('No model is loaded.')}</p>
        )}
        {tab === 'library' && (
          <>
            <LibraryList {...form} installed={new Set(state.models.map(one => one.name))} />
            <Create {...form} />
          </>
        )}
      </div>
    </>
  );
}

function Reachability(props: {
  state: IServerState;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { state, trans } = props;
  if (state.server === 'missing') {
    return <p className="jpo-error">{trans.__('This server does not have jupyter-ollama.')}</p>;
  }
  if (state.server === 'down') {
    return <p className="jpo-error">{trans.__('The server cannot be reached.')}</p>;
  }
  return state.server ? null : <p className="jpo-detail">{trans.__('Loading…')}</p>;
}

type InstalledProps = Omit<
  Parameters<typeof InstalledRow>[0],
  'model' | 'loaded' | 'open' | 'onToggle'
>;

function Installed(props: InstalledProps & { state: IServerState }): React.ReactElement {
  const { actions, state, trans } = props;
  const [open, setOpen] = useState('');
  const loaded = new Set(state.loaded.map(one => one.name));
  return (
    <>
      {state.models.map(model => (
        <div key={model.name}>
          <InstalledRow
            {...props}
            model={model}
            loaded={loaded.has(model.name)}
            open={open === model.name}
            onToggle={() => setOpen(open === model.name ? '' : model.name)}
          />
          {open === model.name && <Details api={actions.client.api} model={model} trans={trans} />}
        </div>
      ))}
      {state.server === 'up' && state.isListed && !state.models.length && (
        <div className="jpo-welcome">
          <p>{trans.__('No model is installed.')}</p>
          {actions.client.transfers.all.length === 0 && (
            <Starters client={actions.client} trans={trans} />
          )}
        </div>
      )}
    </>
  );
}
