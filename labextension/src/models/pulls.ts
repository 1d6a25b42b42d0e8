import { type ISignal, Signal } from '@lumino/signaling';

import type { StatusEvent } from '../api';

/** A layer of a model: a file that is downloaded. */
export interface ILayer {
  readonly digest: string;
  readonly total: number;
  readonly completed: number;
}

/** A pull or the creation of a model. */
export interface ITransfer {
  readonly name: string;
  readonly state: 'running' | 'paused' | 'failed';
  readonly status: string;
  readonly layers: readonly ILayer[];
  readonly canResume: boolean;
}

/** The work of a transfer: yields its steps until it is done. */
export type Work = (signal: AbortSignal) => AsyncIterable<StatusEvent>;

interface IRunning {
  view: ITransfer;
  work: Work;
  controller: AbortController;
}

/** Running pulls and creations. A paused pull resumes from the bytes that the server has kept. */
export class Transfers {
  constructor(private readonly _done: (name: string) => void) {}

  /** The transfers, oldest first. */
  get all(): readonly ITransfer[] {
    return [...this._running.values()].map(one => one.view);
  }

  /** Emitted when a transfer makes progress. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Start, or resume after a pause or a failure. */
  start(name: string, work: Work, canResume = true): void {
    const known = this._running.get(name);
    if (known?.view.state === 'running') {
      return;
    }
    const view: ITransfer = {
      name,
      canResume,
      state: 'running',
      status: '',
      layers: known?.view.layers ?? []
    };
    const running = { view, work, controller: new AbortController() };
    this._running.set(name, running);
    this._changed.emit();
    void this.run(running);
  }

  /** Resume after a pause or a failure. */
  resume(name: string): void {
    const known = this._running.get(name);
    if (known) {
      this.start(name, known.work, known.view.canResume);
    }
  }

  /** Pause. */
  pause(name: string): void {
    const known = this._running.get(name);
    if (known?.view.state === 'running') {
      this.update(known, { state: 'paused' });
      known.controller.abort();
    }
  }

  /** Cancel and remove. */
  cancel(name: string): void {
    const known = this._running.get(name);
    if (known) {
      this._running.delete(name);
      known.controller.abort();
      this._changed.emit();
    }
  }

  private async run(running: IRunning): Promise<void> {
    const { name } = running.view;
    try {
      for await (const step of running.work(running.controller.signal)) {
        this.update(running, advance(running.view, step));
      }
      if (this._running.get(name) === running) {
        this._running.delete(name);
        this._changed.emit();
        this._done(name);
      }
    } catch (error) {
      if (!running.controller.signal.aborted) {
        this.update(running, { state: 'failed', status: (error as Error).message });
      }
    }
  }

  private update(running: IRunning, change: Partial<ITransfer>): void {
    running.view = { ...running.view, ...change };
    if (this._running.get(running.view.name) === running) {
      this._changed.emit();
    }
  }

  private readonly _running = new Map<string, IRunning>();
  private readonly _changed = new Signal<this, void>(this);
}

/** Return the changes of a step. */
function advance(view: ITransfer, step: StatusEvent): Partial<ITransfer> {
  const { digest, total } = step;
  if (!digest || !total) {
    return { status: step.status };
  }
  const layer = { digest, total, completed: step.completed ?? 0 };
  const at = view.layers.findIndex(one => one.digest === digest);
  const layers = [...view.layers];
  layers.splice(at < 0 ? layers.length : at, at < 0 ? 0 : 1, layer);
  return { status: step.status, layers };
}
