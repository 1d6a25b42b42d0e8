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
  /** Bytes in a second, of the last seconds; 0 until it is known. */
  readonly rate: number;
  /** Seconds until the layers that are known are complete, at that rate. */
  readonly secondsLeft: number;
}

/** The work of a transfer: yields its steps until it is done. */
export type Work = (signal: AbortSignal) => AsyncIterable<StatusEvent>;

interface IRunning {
  view: ITransfer;
  work: Work;
  controller: AbortController;
  speed: Speed;
}

/** Running pulls and creations. A paused pull resumes from the bytes that the server has kept. */
export class Transfers {
  constructor(
    private readonly _done: (name: string) => void,
    private readonly _now: () => number = () => performance.now()
  ) {}

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
      layers: known?.view.layers ?? [],
      rate: 0,
      secondsLeft: 0
    };
    const running = { view, work, controller: new AbortController(), speed: new Speed() };
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
        const change = advance(running.view, step);
        running.speed.note(step, this._now());
        this.update(running, { ...change, ...running.speed.of(change.layers ?? []) });
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

/** The seconds of a transfer that its rate is measured over. */
const WINDOW = 8;
/** The seconds after which a rate is shown. */
const SETTLED = 1;

/** The rate of a transfer. Bytes that were there before it was resumed do not count. */
class Speed {
  /** Count the bytes of a step; `now` is in milliseconds. */
  note({ digest, completed = 0 }: StatusEvent, now: number): void {
    if (!digest) {
      return;
    }
    const before = this._completed.get(digest) ?? completed;
    this._completed.set(digest, completed);
    this._received += Math.max(0, completed - before);
    this._samples.push([now / 1000, this._received]);
    while (this._samples.length > 2 && this._samples[1][0] < now / 1000 - WINDOW) {
      this._samples.shift();
    }
  }

  /** Return the rate, and the time that the rest of layers takes at it. */
  of(layers: readonly ILayer[]): Pick<ITransfer, 'rate' | 'secondsLeft'> {
    const [first, last] = [this._samples[0], this._samples[this._samples.length - 1]];
    const seconds = first ? last[0] - first[0] : 0;
    const rate = seconds >= SETTLED ? (last[1] - first[1]) / seconds : 0;
    const left = layers.reduce((sum, one) => sum + one.total - one.completed, 0);
    return { rate, secondsLeft: rate ? left / rate : 0 };
  }

  private readonly _completed = new Map<string, number>();
  private readonly _samples: [number, number][] = [];
  private _received = 0;
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
