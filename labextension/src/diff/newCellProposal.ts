import type { Cell } from '@jupyterlab/cells';
import type { CellType } from '@jupyterlab/nbformat';
import type { Notebook } from '@jupyterlab/notebook';
import { Panel, Widget } from '@lumino/widgets';

import type { IBarState } from './bar';
import { CellProposal, type IProposalOptions } from './cellProposal';
import { ColouredText } from './coloured';
import { openProposals } from './open';
import { addToCell } from './place';

/** The mime types of proposed cells that are no code. */
const MIME_TYPES: Readonly<Record<string, string>> = { markdown: 'text/x-ipythongfm' };

/** A cell that would be inserted, shown below the cell before it, or above the first one. */
export class NewCellProposal extends CellProposal {
  constructor(
    private readonly _notebook: Notebook,
    index: number,
    private readonly _type: CellType,
    options: IProposalOptions
  ) {
    super(_notebook.widgets[Math.max(0, index - 1)], options);
    this._isFirst = index <= 0;
    this._message = options.trans.__('%1 is writing…', options.author);
    this._lines.addClass('jpo-new-cell-lines');
    this._ghost.addClass('jpo-new-cell');
    this._ghost.addWidget(this._lines);
    this._ghost.addWidget(this.bar);
    void this.open();
  }

  readonly changesSource = false;

  /** The inserted cell, once the proposal is accepted. */
  get inserted(): Cell | null {
    return this._inserted;
  }

  /** The part of the source that is written so far. */
  write(draft: string): void {
    this._source = draft;
    void this.draw();
  }

  /** What to show before the proposal is complete. */
  set message(value: React.ReactNode) {
    this._message = value;
    this.changed.emit();
  }

  /** The whole source. */
  complete(source: string): void {
    this._source = source;
    this._isComplete = true;
    this.changed.emit();
    void this.draw();
  }

  /** Show an error in place of the proposal. */
  fail(error: string): void {
    this._error = error;
    this.changed.emit();
  }

  override accept(): void {
    const { _notebook: notebook, _type: type } = this;
    const shared = notebook.model?.sharedModel;
    if (!this._isComplete || !shared) {
      return;
    }
    const anchor = notebook.widgets.indexOf(this.cell);
    const index = this._isFirst ? anchor : anchor + 1;
    const source = this._source;
    shared.insertCell(index, {
      cell_type: type,
      source,
      metadata: type === 'code' ? { trusted: true } : {}
    });
    const inserted = (this._inserted = notebook.widgets[index]);
    if (!this._isFirst) {
      // Cells that were proposed after this one come after it.
      const all = openProposals.of(this.cell);
      all.slice(all.indexOf(this) + 1).forEach(one => {
        if (one instanceof NewCellProposal && !one._isFirst) {
          one.moveTo(inserted);
        }
      });
    }
    this.end('accepted');
  }

  protected get state(): IBarState {
    const { trans, author } = this.options;
    const names: Record<string, string> = {
      code: trans.__('%1 proposes a new code cell.', author),
      markdown: trans.__('%1 proposes a new Markdown cell.', author),
      raw: trans.__('%1 proposes a new raw cell.', author)
    };
    return {
      error: this._error,
      message: this._isComplete ? names[this._type] : this._message,
      isComplete: this._isComplete,
      count: 1
    };
  }

  protected override show(): void {
    addToCell(this.cell, this._ghost, this._isFirst ? 'above' : 'end');
    void this.draw();
  }

  protected override hide(): void {
    this._ghost.dispose();
  }

  private async draw(): Promise<void> {
    const coloured = new ColouredText(this._source);
    const { languages } = openProposals;
    if (languages) {
      const code = this._notebook.codeMimetype;
      const mimeType = this._type === 'code' ? code : MIME_TYPES[this._type];
      await coloured.colour(languages, mimeType ?? 'text/plain');
    }
    if (coloured.text !== this._source || this._ghost.isDisposed) {
      return;
    }
    const lines = this._source.split('\n').map((_, index) => {
      const line = document.createElement('div');
      line.className = 'jpo-diff-added-line';
      coloured.write(index, [], line);
      return line;
    });
    this._lines.node.replaceChildren(...lines);
  }

  private readonly _isFirst: boolean;
  private readonly _ghost = new Panel();
  private readonly _lines = new Widget();
  private _source = '';
  private _message: React.ReactNode;
  private _error = '';
  private _isComplete = false;
  private _inserted: Cell | null = null;
}
