import { type Cell, CodeCell } from '@jupyterlab/cells';
import { type INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { type ISignal, Signal } from '@lumino/signaling';

import { cellError, cellOutputs, cellSource } from './attachments';
import type { IAttachment } from './conversation';
import { languageIn } from '../kernel';
import type { ISuggestion, ISuggestions } from './props';

const MOST = 3;
/** The class of tables in the HTML of pandas and Polars. */
const TABLE = /<table[^>]*class="dataframe/;
/** A last line that shows a variable, or its first rows. */
const SHOWN = /(?:^|\n)([A-Za-z_]\w*)(?:\.(?:head|sample|tail)\(\d*\))?\s*$/;

/** The questions that fit to the open notebook: its error, its table, its active cell. */
export class NotebookSuggestions implements ISuggestions {
  constructor(
    private readonly _notebooks: INotebookTracker | null,
    private readonly _trans: TranslationBundle
  ) {
    const emit = () => this._changed.emit();
    _notebooks?.currentChanged.connect(emit);
    _notebooks?.activeCellChanged.connect(emit);
    NotebookActions.executed.connect(emit);
  }

  /** Emitted when another notebook or cell is active, or a cell has run. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Return a few questions, the most urgent first. */
  list(): readonly ISuggestion[] {
    return [...this.ofNotebook(), ...this.general()].slice(0, MOST);
  }

  private ofNotebook(): ISuggestion[] {
    const trans = this._trans;
    const { activeCell = null, currentWidget } = this._notebooks ?? {};
    // The active cell first, then the others from the end.
    const cells = [activeCell, ...[...(currentWidget?.content.widgets ?? [])].reverse()];
    const code = cells.filter((cell): cell is CodeCell => cell instanceof CodeCell);
    const found: ISuggestion[] = [];
    const failed = code.find(cell => cellError(cell, ''));
    if (failed) {
      const error = cellError(failed, trans.__('Error'));
      found.push({
        text: trans.__('Why does cell %1 fail?', numberOf(failed)),
        attachments: [this.source(failed), ...(error ? [error] : [])]
      });
    }
    const table = code.find(showsTable);
    if (table) {
      const name = SHOWN.exec(table.model.sharedModel.getSource())?.[1];
      found.push({
        text: name
          ? trans.__('Describe the columns of %1.', name)
          : trans.__('Describe the table of cell %1.', numberOf(table)),
        attachments: [this.source(table), ...cellOutputs(table, trans.__('Output'))]
      });
    }
    if (activeCell instanceof CodeCell && activeCell.model.sharedModel.getSource().trim()) {
      const attachments = [this.source(activeCell)];
      found.push({ text: trans.__('Explain the active cell.'), attachments });
      found.push({ text: trans.__('Write a test for the active cell.'), attachments });
    }
    return found;
  }

  private general(): ISuggestion[] {
    const trans = this._trans;
    return [
      trans.__('Write Python code that reads all CSV files of a folder into one table.'),
      trans.__('Plot two columns of a table with Matplotlib.'),
      trans.__('Explain list comprehensions by three examples.')
    ].map(text => ({ text, attachments: [] }));
  }

  private source(cell: Cell): IAttachment {
    const path = this._notebooks?.currentWidget?.context.path;
    const language = this._notebooks ? languageIn(this._notebooks) : '';
    return {
      ...cellSource(cell, this._trans.__('Cell'), language),
      ...(path ? { source: { path, cell: cell.model.id } } : {})
    };
  }

  private readonly _changed = new Signal<this, void>(this);
}

function showsTable(cell: CodeCell): boolean {
  return cell.model.outputs
    .toJSON()
    .some(({ data }) =>
      TABLE.test([(data as Record<string, unknown>)?.['text/html']].flat().join(''))
    );
}

function numberOf(cell: CodeCell): string {
  return `[${cell.model.executionCount ?? ' '}]`;
}
