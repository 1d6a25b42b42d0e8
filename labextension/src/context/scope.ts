import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import { type ISignal, Signal } from '@lumino/signaling';

import { ask, type KernelFailure } from '../kernel';

/** A variable that a person can choose. */
export interface IVariableOffer {
  readonly name: string;
  /** Its type and size: "DataFrame, 891 x 12". */
  readonly summary: string;
}

/** Why there is nothing to say about the kernel. */
export type ScopeFailure = KernelFailure | 'none' | 'language';

interface INames {
  readonly variables: readonly IVariableOffer[];
  readonly lines: readonly string[];
}

interface IDescription {
  readonly text?: string;
  readonly error?: string;
}

const NOTHING: INames = { variables: [], lines: [] };
/** Milliseconds to wait for further cells before the kernel is asked. */
const PAUSE = 300;
const SCOPES = new WeakMap<ISessionContext, KernelScope>();

/** Return what is known of the kernel of a notebook. */
export function scopeOf(context: ISessionContext): KernelScope {
  let scope = SCOPES.get(context);
  if (!scope) {
    scope = new KernelScope(context);
    SCOPES.set(context, scope);
  }
  return scope;
}

/** The names in a kernel. They are asked again after cells have run, never while one runs. */
export class KernelScope {
  constructor(private readonly _context: ISessionContext) {
    _context.iopubMessage.connect(this._onMessage, this);
    _context.kernelChanged.connect(this._forget, this);
    _context.disposed.connect(() => {
      clearTimeout(this._timer);
      Signal.clearData(this);
    });
  }

  /** The variables that are known, the newest first. */
  get variables(): readonly IVariableOffer[] {
    return this._names.variables;
  }

  /** Lines about the names in scope, for completion. */
  get lines(): readonly string[] {
    return this._names.lines;
  }

  /** Why the last question had no answer. */
  get failure(): ScopeFailure | null {
    return this._failure;
  }

  /** Emitted when cells have run, or names have arrived. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Ask for the names after each execution from now on. */
  follow(): void {
    if (!this._isFollowed) {
      this._isFollowed = true;
      void this.refresh();
    }
  }

  /** Ask for the names if cells have run since. */
  refresh(): Promise<void> {
    this._asking ??= this._ask().finally(() => {
      this._asking = null;
    });
    return this._asking;
  }

  /** Return the description of a variable, or why there is none. */
  async describe(name: string): Promise<IDescription | ScopeFailure> {
    const kernel = await this._python();
    if (typeof kernel === 'string') {
      return kernel;
    }
    const answer = await ask<IDescription>(kernel, expression(`variable(${JSON.stringify(name)})`));
    return 'data' in answer ? answer.data : answer.failure;
  }

  private async _ask(): Promise<void> {
    if (!this._isStale) {
      return;
    }
    this._isStale = false;
    const kernel = await this._python();
    if (typeof kernel === 'string') {
      this._failure = kernel;
      this._isStale = true;
      this._changed.emit();
      return;
    }
    const answer = await ask<INames>(kernel, expression('names()'));
    if (kernel !== this._context.session?.kernel) {
      return;
    }
    if ('data' in answer) {
      this._names = answer.data;
      this._failure = null;
    } else {
      this._failure = answer.failure;
      // A busy kernel is asked again; one without the package only after another cell.
      this._isStale = answer.failure === 'busy';
    }
    this._changed.emit();
  }

  /** Return the kernel if it runs Python. */
  private async _python(): Promise<Kernel.IKernelConnection | ScopeFailure> {
    const kernel = this._context.session?.kernel;
    if (!kernel) {
      return 'none';
    }
    if (kernel.status === 'busy') {
      return 'busy';
    }
    const info = await kernel.info;
    return info.language_info.name === 'python' ? kernel : 'language';
  }

  private _onMessage(_: ISessionContext, message: KernelMessage.IMessage): void {
    const { msg_type: type } = message.header;
    // Silent requests, such as those of this class, have no execute_input.
    if (type === 'execute_input') {
      this._isStale = this._hasRun = true;
    } else if (type === 'status' && this._hasRun) {
      const { execution_state: state } = (message as KernelMessage.IStatusMsg).content;
      if (state === 'idle') {
        this._hasRun = false;
        clearTimeout(this._timer);
        this._timer = setTimeout(() => this._onIdle(), PAUSE);
      }
    }
  }

  private _onIdle(): void {
    // Someone waits for the names of a kernel that was busy.
    if (this._isFollowed || this._failure === 'busy') {
      void this.refresh();
    } else {
      this._changed.emit();
    }
  }

  private _forget(): void {
    this._names = NOTHING;
    this._failure = null;
    this._isStale = true;
    this._changed.emit();
    if (this._isFollowed) {
      void this.refresh();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private _names = NOTHING;
  private _failure: ScopeFailure | null = null;
  private _isStale = true;
  private _hasRun = false;
  private _isFollowed = false;
  private _asking: Promise<void> | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

/** Return the expression of a call of the magics' module for JupyterLab. */
function expression(call: string): string {
  return `__import__('jupyter_ollama_magics.context.lab', fromlist=['lab']).${call}`;
}
