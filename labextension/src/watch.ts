import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';

import type { LoadedModel, ModelSummary, OllamaApi, RequestUnderWay } from './api';
import { OllamaError } from './ndjson';

/** The last known state of the server. */
export interface IServerState {
  /** Undefined until the first response; "missing" if the server lacks the extension. */
  readonly server: 'up' | 'missing' | 'down' | undefined;
  readonly loaded: readonly LoadedModel[];
  readonly requests: readonly RequestUnderWay[];
  readonly models: readonly ModelSummary[];
  /** Whether the server has listed its models: the list may be empty for another reason. */
  readonly isListed: boolean;
}

/** The dependencies of a watch. */
export interface IWatchOptions {
  api: OllamaApi;
  interval: number;
  /** Whether the page is hidden or the server disconnected. */
  isPaused: () => boolean;
}

const UNKNOWN: IServerState = {
  server: undefined,
  loaded: [],
  requests: [],
  models: [],
  isListed: false
};
/** The longest time between two requests, in milliseconds. */
const MAX_INTERVAL = 120_000;

/**
 * One poll of the server's state for all components that show it.
 *
 * It sends requests only while a component watches, the page is visible and the server connected.
 */
export class ServerWatch implements IDisposable {
  constructor(options: IWatchOptions) {
    this._api = options.api;
    this._poll = new Poll({
      name: 'jupyter-ollama:server',
      auto: false,
      factory: () => this.poll(),
      frequency: { interval: options.interval, backoff: true, max: MAX_INTERVAL },
      standby: () => this._watchers === 0 || options.isPaused()
    });
  }

  /** The last known state of the server. */
  get state(): IServerState {
    return this._state;
  }

  /** Emitted when the state has changed. */
  get changed(): ISignal<this, IServerState> {
    return this._changed;
  }

  /** Whether the watch has been disposed. */
  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /** Milliseconds between two requests. */
  set interval(interval: number) {
    this._poll.frequency = { ...this._poll.frequency, interval, max: MAX_INTERVAL };
  }

  /** Poll the server until the result is disposed, with its store of models if `models` is set. */
  watch(models = false): IDisposable {
    this._watchers += 1;
    this._modelWatchers += models ? 1 : 0;
    if (this._state.server !== 'missing') {
      void this._poll.refresh();
    }
    return new DisposableDelegate(() => {
      this._watchers -= 1;
      this._modelWatchers -= models ? 1 : 0;
    });
  }

  /** Poll now, after an action. */
  async refresh(): Promise<void> {
    this._wantsModels = true;
    await this.poll().catch(() => undefined);
    if (!this.isDisposed && this._state.server === 'up') {
      void this._poll.schedule();
    }
  }

  /** Stop polling. */
  dispose(): void {
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async poll(): Promise<void> {
    const wantsModels = this._wantsModels || this._modelWatchers > 0;
    this._wantsModels = false;
    try {
      // One request first: if it fails, the browser's console shows one line instead of three.
      const loaded = await this._api.loaded();
      const [requests, models] = await Promise.all([
        this._api.requests(),
        wantsModels ? this._api.tags() : this._state.models
      ]);
      const isListed = wantsModels || this._state.isListed;
      this.setState({ server: 'up', loaded, requests, models, isListed });
    } catch (error) {
      const missing = error instanceof OllamaError && error.status === 404;
      this.setState({ ...UNKNOWN, server: missing ? 'missing' : 'down' });
      if (missing) {
        // The extension does not appear later, and each request logs a line in the browser's console.
        void this._poll.stop();
        return;
      }
      throw error;
    }
  }

  private setState(state: IServerState): void {
    if (JSON.stringify(state) !== JSON.stringify(this._state)) {
      this._state = state;
      this._changed.emit(state);
    }
  }

  private readonly _api: OllamaApi;
  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, IServerState>(this);
  private _state = UNKNOWN;
  private _watchers = 0;
  private _modelWatchers = 0;
  private _wantsModels = false;
}
