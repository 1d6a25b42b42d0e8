import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';

import type { LoadedModel, ModelSummary, OllamaApi, RequestUnderWay } from './api';
import { OllamaError } from './ndjson';

/** What the server was last seen to have. */
export interface IServerState {
  /** Undefined until the first answer; "missing" where the server has no such extension. */
  readonly server: 'there' | 'missing' | 'down' | undefined;
  readonly loaded: readonly LoadedModel[];
  readonly requests: readonly RequestUnderWay[];
  readonly models: readonly ModelSummary[];
}

/** What a watch needs. */
export interface IWatchOptions {
  api: OllamaApi;
  interval: number;
  /** Whether nobody can see an answer, or there is nobody to give one. */
  isAway: () => boolean;
}

const NOTHING: IServerState = { server: undefined, loaded: [], requests: [], models: [] };
/** The longest wait between questions, in milliseconds. */
const LONGEST_WAIT = 120_000;

/**
 * One poll for all that shows the server's state.
 *
 * It asks only while somebody watches, the page is visible and the server connected.
 */
export class ServerWatch implements IDisposable {
  constructor(options: IWatchOptions) {
    this._api = options.api;
    this._poll = new Poll({
      name: 'jupyter-ollama:server',
      auto: false,
      factory: () => this.look(),
      frequency: { interval: options.interval, backoff: true, max: LONGEST_WAIT },
      standby: () => this._watchers === 0 || options.isAway()
    });
  }

  /** What the server was last seen to have. */
  get state(): IServerState {
    return this._state;
  }

  /** Emitted when the state has changed. */
  get changed(): ISignal<this, IServerState> {
    return this._changed;
  }

  /** Whether the watch is over. */
  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /** Milliseconds between two questions. */
  set interval(interval: number) {
    this._poll.frequency = { ...this._poll.frequency, interval, max: LONGEST_WAIT };
  }

  /** Have the server watched, its store of models too where `models` is set. */
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

  /** Look now, for something was done. */
  async refresh(): Promise<void> {
    this._wantsModels = true;
    await this.look().catch(() => undefined);
    if (!this.isDisposed && this._state.server === 'there') {
      void this._poll.schedule();
    }
  }

  /** Ask no more. */
  dispose(): void {
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async look(): Promise<void> {
    const wantsModels = this._wantsModels || this._modelWatchers > 0;
    this._wantsModels = false;
    try {
      // One question first: where it fails, the browser's console has one line, not three.
      const loaded = await this._api.loaded();
      const [requests, models] = await Promise.all([
        this._api.requests(),
        wantsModels ? this._api.tags() : this._state.models
      ]);
      this.become({ server: 'there', loaded, requests, models });
    } catch (error) {
      const missing = error instanceof OllamaError && error.status === 404;
      this.become({ ...NOTHING, server: missing ? 'missing' : 'down' });
      if (missing) {
        // It does not come by itself, and each question is a line in the browser's console.
        void this._poll.stop();
        return;
      }
      throw error;
    }
  }

  private become(state: IServerState): void {
    if (JSON.stringify(state) !== JSON.stringify(this._state)) {
      this._state = state;
      this._changed.emit(state);
    }
  }

  private readonly _api: OllamaApi;
  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, IServerState>(this);
  private _state = NOTHING;
  private _watchers = 0;
  private _modelWatchers = 0;
  private _wantsModels = false;
}
