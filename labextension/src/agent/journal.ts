import type { ICell, ICodeCell, IOutput } from '@jupyterlab/nbformat';
import { type ISignal, Signal } from '@lumino/signaling';

import type { SharedCell, SharedNotebook } from './desk';

/** A cell whose change cannot be undone without a loss of the user's own change. */
export interface IConflict {
  readonly id: string;
  /** Why: the user has changed the cell, or deleted it. */
  readonly reason: 'changed' | 'deleted';
}

/** What a work has done with one cell. */
interface IChange {
  /** The cell before; undefined if the work has added it. */
  readonly before?: ICell;
  /** Its text after; undefined if the work has deleted it. */
  after?: string;
  /** Whether the text has changes of the user, too. */
  isMixed: boolean;
  /** The outputs after its last run. */
  ran?: string;
}

/**
 * The changes of a work, to undo them all.
 *
 * It compares the cells with what the work has left: a text that is another one now is the user's.
 */
export class Journal {
  /** The number of cells that the work has changed. */
  get size(): number {
    return this._changes.size;
  }

  /** Emitted when there is another number of changes to undo. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Remember the order of the cells, before the first change. */
  begin(notebook: SharedNotebook): void {
    this._order ??= notebook.cells.map(cell => cell.getId());
  }

  /** Note a cell that was added. */
  added(id: string, after: string): void {
    this._changes.set(id, { after, isMixed: false });
    this._changed.emit();
  }

  /** Note another text of a cell. `isMixed`: the text has changes of the user, too. */
  edited(id: string, before: ICell, after: string, isMixed = false): void {
    const change = this.changeOf(id, before);
    change.isMixed ||= isMixed || change.after !== textOf(before);
    change.after = after;
  }

  /** Note a cell that was deleted. */
  deleted(id: string, before: ICell): void {
    const change = this.changeOf(id, before);
    if (change.before) {
      change.after = undefined;
    } else {
      this._changes.delete(id);
      this._changed.emit();
    }
  }

  /** Note a run of a cell, which replaces its outputs. */
  ran(id: string, before: ICell, after: ICell): void {
    this.changeOf(id, before).ran = outputsText(after as ICodeCell);
  }

  /** Return the cells for which the user must be asked. */
  conflicts(notebook: SharedNotebook): IConflict[] {
    const cells = byId(notebook);
    const found: IConflict[] = [];
    for (const [id, change] of this._changes) {
      const now = cells.get(id)?.getSource();
      if (change.after === undefined || !isWritten(change)) {
        continue;
      }
      if (now === undefined) {
        if (change.before) {
          found.push({ id, reason: 'deleted' });
        }
      } else if (now !== change.after || change.isMixed) {
        found.push({ id, reason: 'changed' });
      }
    }
    return found;
  }

  /** Restore the cells as they were, but for those with an id in `kept`. */
  undo(notebook: SharedNotebook, kept: ReadonlySet<string> = new Set()): void {
    const changes = [...this._changes].filter(([id]) => !kept.has(id));
    const cells = byId(notebook);
    const order = this._order ?? [];
    // The list of the notebook's cells follows only after the transaction.
    const ids = [...cells.keys()];
    notebook.transact(() => {
      for (const [id, change] of changes) {
        const cell = cells.get(id);
        if (cell && change.before) {
          restore(cell, change);
        }
      }
      const lost = changes
        .filter(([id, change]) => change.before && isWritten(change) && !cells.has(id))
        .sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
      for (const [id, { before }] of lost) {
        const index = placeOf(id, order, ids);
        notebook.insertCell(index, before as never);
        ids.splice(index, 0, id);
      }
      // Added cells go last: a notebook is never without a cell.
      for (const [id, change] of changes) {
        const index = ids.indexOf(id);
        if (!change.before && index >= 0) {
          notebook.deleteCell(index);
          ids.splice(index, 1);
        }
      }
    });
    this._changes.clear();
    this._order = undefined;
    this._changed.emit();
  }

  private changeOf(id: string, before: ICell): IChange {
    const change = this._changes.get(id) ?? { before, after: textOf(before), isMixed: false };
    this._changes.set(id, change);
    this._changed.emit();
    return change;
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _changes = new Map<string, IChange>();
  private _order: string[] | undefined;
}

/** Return whether a work has changed more than the outputs of a cell. */
function isWritten({ before, after }: IChange): boolean {
  return !before || after !== textOf(before);
}

function byId(notebook: SharedNotebook): Map<string, SharedCell> {
  return new Map(notebook.cells.map(cell => [cell.getId(), cell]));
}

/** Return the position of a cell that comes back: after the nearest cell that was before it. */
function placeOf(id: string, order: readonly string[], now: readonly string[]): number {
  for (let at = order.indexOf(id) - 1; at >= 0; at--) {
    const index = now.indexOf(order[at]);
    if (index >= 0) {
      return index + 1;
    }
  }
  return 0;
}

/** Restore the text of a cell, and its outputs unless the user has run it since. */
function restore(cell: SharedCell, change: IChange): void {
  const before = change.before as ICodeCell;
  // A deleted cell that is here again was restored by the user.
  if (change.after !== undefined && isWritten(change)) {
    cell.setSource(textOf(before));
  }
  const code = cell as unknown as IRunCell;
  if (change.ran !== undefined && change.ran === outputsText(cell.toJSON() as ICodeCell)) {
    code.setOutputs(before.outputs);
    code.execution_count = before.execution_count;
  }
}

interface IRunCell {
  execution_count: number | null;
  setOutputs(outputs: IOutput[]): void;
}

function outputsText({ outputs, execution_count: count }: ICodeCell): string {
  return JSON.stringify([outputs, count]);
}

function textOf({ source }: ICell): string {
  return Array.isArray(source) ? source.join('') : source;
}
