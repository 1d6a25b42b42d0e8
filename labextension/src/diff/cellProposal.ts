import type { Cell } from '@jupyterlab/cells';
import type { TranslationBundle } from '@jupyterlab/translation';
import { PromiseDelegate } from '@lumino/coreutils';
import { Signal } from '@lumino/signaling';

import { type IBarState, ProposalBar } from './bar';
import { type IOpenProposal, openProposals } from './open';

/** What the user has decided; "unchanged" where the proposal equals the cell. */
export type Outcome = 'accepted' | 'refused' | 'partly' | 'unchanged';

/** The options of a proposal. */
export interface IProposalOptions {
  readonly trans: TranslationBundle;
  /** The name of the model, or of whatever else proposes. */
  readonly author: string;
  /** Ends the proposal as refused. */
  readonly signal?: AbortSignal;
}

/** A proposal that a cell shows until the user has decided. Nothing is written before. */
export abstract class CellProposal implements IOpenProposal {
  constructor(
    private _cell: Cell,
    protected readonly options: IProposalOptions
  ) {
    const { author, trans, signal } = options;
    this.bar = new ProposalBar({
      author,
      trans,
      state: () => this.state,
      changed: this.changed,
      accept: () => this.accept(),
      refuse: () => this.refuse(),
      next: () => void this.focusNext()
    });
    _cell.disposed.connect(this.onCellDisposed, this);
    signal?.addEventListener('abort', this._onAbort);
  }

  /** The cell that shows the proposal. */
  get cell(): Cell {
    return this._cell;
  }

  abstract readonly changesSource: boolean;

  /** Resolves when all is decided. */
  get done(): Promise<Outcome> {
    return this._done.promise;
  }

  /** Whether the proposal has ended. */
  get hasEnded(): boolean {
    return this._hasEnded;
  }

  abstract accept(): void;

  refuse(): void {
    this.end('refused');
  }

  focusNext(): boolean {
    const accept = this.bar.node.querySelector<HTMLButtonElement>('.jpo-mod-main');
    if (!accept || accept === document.activeElement) {
      return false;
    }
    accept.focus();
    return true;
  }

  protected abstract readonly state: IBarState;

  /** Show the proposal: now, or when the cell is first in view. */
  protected async open(): Promise<void> {
    if (this.options.signal?.aborted) {
      this.refuse();
      return;
    }
    openProposals.add(this);
    await this.cell.ready;
    if (!this._hasEnded) {
      this.cell.addClass('jpo-proposing');
      this.show();
      this.changed.emit();
    }
  }

  /** Show the proposal in the cell, which is ready. */
  protected abstract show(): void;

  protected end(outcome: Outcome): void {
    if (this._hasEnded) {
      return;
    }
    this._hasEnded = true;
    this.options.signal?.removeEventListener('abort', this._onAbort);
    const hadFocus = this.bar.node.contains(document.activeElement);
    openProposals.remove(this);
    if (!this.cell.isDisposed) {
      this.cell.disposed.disconnect(this.onCellDisposed, this);
      this.leave();
      this.hide();
    }
    this.bar.dispose();
    if (hadFocus && !this.cell.isDisposed) {
      this.cell.node.focus();
    }
    this._done.resolve(outcome);
  }

  /** Remove what the proposal shows in the cell besides the bar. */
  protected abstract hide(): void;

  /** Show the proposal in another cell from now on. */
  protected moveTo(cell: Cell): void {
    this._cell.disposed.disconnect(this.onCellDisposed, this);
    this.leave();
    this._cell = cell;
    cell.disposed.connect(this.onCellDisposed, this);
    cell.addClass('jpo-proposing');
    this.show();
  }

  private leave(): void {
    if (!openProposals.of(this._cell).some(one => one !== this)) {
      this._cell.removeClass('jpo-proposing');
    }
  }

  protected readonly bar: ProposalBar;
  protected readonly changed = new Signal<this, void>(this);

  private onCellDisposed(): void {
    this.end('refused');
  }

  private readonly _onAbort = () => this.refuse();
  private readonly _done = new PromiseDelegate<Outcome>();
  private _hasEnded = false;
}
