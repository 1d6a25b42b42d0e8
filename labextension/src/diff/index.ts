import type { Cell } from '@jupyterlab/cells';
import type { CellType } from '@jupyterlab/nbformat';
import type { Notebook } from '@jupyterlab/notebook';

import type { IProposalOptions, Outcome } from './cellProposal';
import type { NewCellProposal } from './newCellProposal';
import type { SourceProposal } from './sourceProposal';

export type { IProposalOptions, Outcome } from './cellProposal';
export { type IOpenProposal, openProposals } from './open';
export type { NewCellProposal } from './newCellProposal';
export type { SourceProposal } from './sourceProposal';

/** A whole source, or ever longer beginnings of it while it is written. */
export type Proposed = string | AsyncIterable<string>;

/**
 * Show a proposed source in the editor of a cell. Resolves when the user has decided all parts.
 *
 * The cell keeps its text until a part is accepted. An earlier proposal for the cell is refused. A
 * cell that is not in view shows the proposal when it is. Throws if the cell is read-only.
 */
export async function proposeSource(
  cell: Cell,
  proposed: Proposed,
  options: IProposalOptions
): Promise<Outcome> {
  const proposal = await openSource(cell, options);
  await write(proposal, proposed);
  return proposal.done;
}

/**
 * Show a new cell at the place `index` of a notebook. Resolves when the user has decided.
 *
 * The notebook has the cell only after it is accepted.
 */
export async function proposeNewCell(
  notebook: Notebook,
  index: number,
  type: CellType,
  proposed: Proposed,
  options: IProposalOptions
): Promise<{ readonly outcome: Outcome; readonly cell: Cell | null }> {
  const proposal = await openNewCell(notebook, index, type, options);
  await write(proposal, proposed);
  const outcome = await proposal.done;
  return { outcome, cell: proposal.inserted };
}

/** Mark a cell for deletion. Resolves when the user has decided. Throws if it may not be deleted. */
export async function proposeDeletion(
  notebook: Notebook,
  cell: Cell,
  options: IProposalOptions
): Promise<Outcome> {
  if (cell.model.getMetadata('deletable') === false || cell.readOnly) {
    throw new Error(options.trans.__('The cell is protected from deletion.'));
  }
  const { DeletionProposal } = await import('./deletionProposal');
  return new DeletionProposal(notebook, cell, options).done;
}

/** Open a proposal for the source of a cell; the caller writes and completes it. */
export async function openSource(cell: Cell, options: IProposalOptions): Promise<SourceProposal> {
  if (cell.model.getMetadata('editable') === false) {
    throw new Error(options.trans.__('The cell is read-only.'));
  }
  const { SourceProposal } = await import('./sourceProposal');
  return new SourceProposal(cell, options);
}

/** Open a proposal for a new cell; the caller writes and completes it. */
export async function openNewCell(
  notebook: Notebook,
  index: number,
  type: CellType,
  options: IProposalOptions
): Promise<NewCellProposal> {
  if (!notebook.widgets.length) {
    throw new Error(options.trans.__('The notebook has no cell.'));
  }
  const { NewCellProposal } = await import('./newCellProposal');
  return new NewCellProposal(notebook, index, type, options);
}

async function write(
  proposal: SourceProposal | NewCellProposal,
  proposed: Proposed
): Promise<void> {
  if (typeof proposed === 'string') {
    proposal.complete(proposed);
    return;
  }
  let source = '';
  try {
    for await (source of proposed) {
      if (proposal.hasEnded) {
        return;
      }
      proposal.write(source);
    }
  } catch (error) {
    proposal.fail((error as Error).message);
    return;
  }
  proposal.complete(source);
}
