import type { Cell } from '@jupyterlab/cells';

type SharedCell = Cell['model']['sharedModel'];

/** The part of the undo manager of Yjs that is used here. */
interface IUndoManager {
  readonly undoStack: readonly unknown[];
  /** The time of the last change, in milliseconds; 0 if the next change begins a step. */
  lastChange: number;
  stopCapturing(): void;
}

/**
 * Change a cell in one undo step of its own, and return the step.
 *
 * If `step` is still the last step, the change becomes a part of it.
 */
export function inOneUndoStep(cell: SharedCell, step: unknown, change: () => void): unknown {
  const { undoManager } = cell as SharedCell & { undoManager?: IUndoManager | null };
  if (!undoManager) {
    cell.transact(change);
    return null;
  }
  const last = () => undoManager.undoStack[undoManager.undoStack.length - 1];
  undoManager.stopCapturing();
  if (step && last() === step) {
    undoManager.lastChange = Date.now();
  }
  cell.transact(change);
  undoManager.stopCapturing();
  return last() ?? null;
}
