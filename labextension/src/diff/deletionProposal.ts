import type { Cell } from '@jupyterlab/cells';
import type { Notebook } from '@jupyterlab/notebook';

import type { IBarState } from './bar';
import { CellProposal, type IProposalOptions } from './cellProposal';
import { addToCell } from './place';

/** A cell that would be deleted, shown in red. */
export class DeletionProposal extends CellProposal {
  constructor(
    private readonly _notebook: Notebook,
    cell: Cell,
    options: IProposalOptions
  ) {
    super(cell, options);
    void this.open();
  }

  readonly changesSource = true;

  override accept(): void {
    const shared = this._notebook.model?.sharedModel;
    const index = this._notebook.widgets.indexOf(this.cell);
    this.end('accepted');
    if (!shared || index < 0) {
      return;
    }
    shared.transact(() => {
      shared.deleteCell(index);
      if (!shared.cells.length) {
        // A notebook has at least one cell, as after JupyterLab's own command.
        shared.insertCell(0, { cell_type: this._notebook.notebookConfig.defaultCell });
      }
    });
  }

  protected get state(): IBarState {
    const { trans, author } = this.options;
    const message = trans.__('%1 proposes to delete this cell.', author);
    return { error: '', message, isComplete: true, count: 1 };
  }

  protected override show(): void {
    this.cell.addClass('jpo-deleting');
    addToCell(this.cell, this.bar, 'below');
  }

  protected override hide(): void {
    this.cell.removeClass('jpo-deleting');
  }
}
