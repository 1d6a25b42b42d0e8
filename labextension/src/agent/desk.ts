import type { INotebookModel } from '@jupyterlab/notebook';

import type { CellNames } from './cellNames';

export type SharedNotebook = INotebookModel['sharedModel'];
export type SharedCell = SharedNotebook['cells'][number];
export type CellType = 'code' | 'markdown';

/** What the user has decided about a proposed change. */
export type Decision = 'accepted' | 'partly' | 'refused';

/** Who proposes a change, and the signal that withdraws it. */
export interface IProposer {
  readonly author: string;
  readonly signal: AbortSignal;
}

/**
 * Shows changes in the notebook; each method resolves when the user has decided.
 *
 * Where the signal withdraws a change, the parts that were accepted before stay.
 */
export interface IProposals {
  edit(id: string, source: string, proposer: IProposer): Promise<Decision>;
  /** Returns the id of the new cell, or undefined if the user has refused it. */
  add(
    index: number,
    type: CellType,
    source: string,
    proposer: IProposer
  ): Promise<string | undefined>;
  delete(id: string, proposer: IProposer): Promise<Decision>;
}

/** The kernel of a notebook. */
export interface IDeskKernel {
  /** Why nothing can run now; undefined if it can. */
  readonly problem: string | undefined;
  /** Wait until the kernel has nothing to do. */
  idle(signal: AbortSignal): Promise<void>;
  /**
   * Run a cell if its text is still `code`; return false if it is another.
   *
   * The abort of the signal interrupts the kernel.
   */
  run(id: string, code: string, signal: AbortSignal): Promise<boolean>;
  /** Describe a variable, without running code of the user; `name` is an identifier. */
  describe(name: string): Promise<string>;
}

/** The open notebook that a model works on. */
export interface IDesk {
  /** The object that stands for this open notebook. */
  readonly key: object;
  /** The path of its file, with forward slashes. */
  readonly path: string;
  readonly language: string;
  readonly isOpen: boolean;
  readonly isReadOnly: boolean;
  readonly shared: SharedNotebook;
  readonly names: CellNames;
  readonly proposals: IProposals;
  readonly kernel: IDeskKernel;
}

/** A cell and its place. */
export interface IPlacedCell {
  readonly cell: SharedCell;
  readonly index: number;
  readonly id: string;
}

/** Return the ids of all cells in their order. */
export function idsOf(desk: Pick<IDesk, 'shared'>): string[] {
  return desk.shared.cells.map(cell => cell.getId());
}

/** Return a cell by its id. */
export function placed(desk: Pick<IDesk, 'shared'>, id: string): IPlacedCell | undefined {
  const index = idsOf(desk).indexOf(id);
  return index < 0 ? undefined : { cell: desk.shared.cells[index], index, id };
}
