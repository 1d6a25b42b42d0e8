import {
  type JupyterFrontEnd,
  JupyterLab,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Token } from '@lumino/coreutils';

import { type ModelSummary, OllamaApi } from './api';
import { Transfers } from './models/pulls';
import { fileSender } from './sendFile';
import { followSettings } from './settings';
import { type IServerState, ServerWatch } from './watch';

export const CLIENT_ID = 'jupyter-ollama:client';
/** The translation domain of this extension. */
export const DOMAIN = 'jupyter_ollama';
/** The rank of the launcher's section of this extension: after the consoles, before the rest. */
export const LAUNCHER_RANK = 40;

/** Ollama's API of the Jupyter server, and its state. */
export interface IOllamaClient {
  readonly api: OllamaApi;
  readonly watch: ServerWatch;
  /** The pulls and creations of models that this page has started. */
  readonly transfers: Transfers;
  /** Start to pull a model, or resume it. */
  pull(model: string): void;
  /** The model to use if none is chosen: the setting, else a loaded or installed model. */
  defaultModel(): string | undefined;
  /** Whether the user may pull, create, copy and delete models. */
  readonly mayManage: Promise<boolean>;
  /** Whether the user may run models. */
  readonly mayRun: Promise<boolean>;
}

export const IOllamaClient = new Token<IOllamaClient>(
  'jupyter-ollama:IOllamaClient',
  "Ollama's API of the Jupyter server."
);

/** Return a model that can chat: a loaded one, else the newest of the store. */
export function modelAtHand(state: IServerState): string | undefined {
  const embeds = new Set(
    state.models.filter(one => !one.capabilities?.includes('completion')).map(one => one.name)
  );
  return [...state.loaded, ...state.models].map(one => one.name).find(name => !embeds.has(name));
}

/** Return the newest installed model that makes embeddings and does not chat. */
export function embedderAtHand(state: IServerState): string | undefined {
  return state.models.find(one => isEmbedder(one))?.name;
}

/** Return whether a model makes embeddings and does not chat. */
export function isEmbedder({ capabilities }: ModelSummary): boolean {
  return !!capabilities?.includes('embedding') && !capabilities.includes('completion');
}

/** Return the size of a model's files in bytes; undefined if the server has not listed it. */
export function sizeOf(state: IServerState, model: string): number | undefined {
  const names = [model, `${model}:latest`].map(name => name.toLowerCase());
  return state.models.find(one => names.includes(one.name.toLowerCase()))?.size;
}

export const client: JupyterFrontEndPlugin<IOllamaClient> = {
  id: CLIENT_ID,
  description: "Ollama's API of the Jupyter server, for the other plugins.",
  autoStart: true,
  provides: IOllamaClient,
  optional: [ISettingRegistry, ITranslator, JupyterLab.IInfo],
  activate: (
    app: JupyterFrontEnd,
    settingRegistry: ISettingRegistry | null,
    translator: ITranslator | null,
    info: JupyterLab.IInfo | null
  ): IOllamaClient => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const settings = app.serviceManager.serverSettings;
    const api = new OllamaApi(
      (path, init) =>
        ServerConnection.makeRequest(URLExt.join(settings.baseUrl, path), init, settings),
      fileSender(settings),
      PageConfig.getOption('ollamaPrefix') || undefined
    );
    const watch = new ServerWatch({
      api,
      interval: 3000,
      isPaused: () => document.hidden || info?.isConnected === false
    });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && watch.state.server === 'up') {
        void watch.refresh();
      }
    });
    let warned = false;
    watch.changed.connect((_, state) => {
      if (!warned && (state.server === 'missing' || state.server === 'down')) {
        warned = true;
        Notification.warning(
          state.server === 'missing'
            ? trans.__('This server does not have jupyter-ollama. Its models cannot be used here.')
            : trans.__('The models of this server cannot be reached.'),
          { autoClose: 10_000 }
        );
      }
    });
    const transfers = new Transfers(name => {
      Notification.success(trans.__('%1 is installed.', name), { autoClose: 4000 });
      void watch.refresh();
    });
    let chosen = '';
    followSettings(app, settingRegistry, CLIENT_ID, settings => {
      chosen = settings.get('defaultModel').composite as string;
      watch.interval = 1000 * (settings.get('refreshSeconds').composite as number);
    });
    // Requests for the start of JupyterLab itself come first.
    const may = (right: 'manage' | 'run') =>
      app.restored.then(() => api.may(right)).catch(() => true);
    return {
      api,
      watch,
      transfers,
      pull: model => transfers.start(model, signal => api.pull(model, signal)),
      mayManage: may('manage'),
      mayRun: may('run'),
      defaultModel: () => chosen || modelAtHand(watch.state)
    };
  }
};
