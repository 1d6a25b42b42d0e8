import type { Cell } from '@jupyterlab/cells';
import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { type ISignal, Signal } from '@lumino/signaling';

/** A proposal that waits for the user's decision. */
export interface IOpenProposal {
  /** The cell that shows it. */
  readonly cell: Cell;
  /** Whether it changes the source of that cell; a cell has at most one such proposal. */
  readonly changesSource: boolean;
  /** Accept what is left of the proposal. It does nothing before the proposal is complete. */
  accept(): void;
  /** Refuse what is left of the proposal, and end the request that writes it. */
  refuse(): void;
  /** Move the focus to the button of the next part; false after the last one. */
  focusNext(): boolean;
}

/** The open proposals of all notebooks. */
class OpenProposals {
  /** Return the keys of a command as text, for tooltips. */
  keysOf: (command: string) => string = () => '';

  /** The languages that colour proposed lines. */
  languages: IEditorLanguageRegistry | null = null;

  /** The proposals, oldest first. */
  get all(): readonly IOpenProposal[] {
    return [...this._all];
  }

  /** Emitted when a proposal is opened or ends. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Return the proposals that a cell shows. */
  of(cell: Cell | null | undefined): IOpenProposal[] {
    return this.all.filter(one => one.cell === cell);
  }

  /** Add a proposal. It replaces an earlier one for the source of the same cell. */
  add(proposal: IOpenProposal): void {
    if (proposal.changesSource) {
      this.of(proposal.cell)
        .filter(one => one.changesSource)
        .forEach(one => one.refuse());
    }
    this._all.add(proposal);
    this._changed.emit();
  }

  /** Remove a proposal that has ended. */
  remove(proposal: IOpenProposal): void {
    this._all.delete(proposal);
    this._changed.emit();
  }

  private readonly _all = new Set<IOpenProposal>();
  private readonly _changed = new Signal<this, void>(this);
}

export const openProposals = new OpenProposals();
