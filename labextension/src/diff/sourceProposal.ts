import { Notification } from '@jupyterlab/apputils';
import { type Cell, MarkdownCell } from '@jupyterlab/cells';
import type { CodeMirrorEditor } from '@jupyterlab/codemirror';
import { EditorView } from '@codemirror/view';
import { Throttler } from '@lumino/polling';

import { ACCEPT_PART } from './addedLines';
import type { IBarState } from './bar';
import { CellProposal, type IProposalOptions } from './cellProposal';
import { ColouredText } from './coloured';
import {
  backwards,
  changeBetween,
  changeOf,
  editOf,
  type ILineChange,
  type IPart,
  moved
} from './lines';
import { showDiff } from './marks';
import { openProposals } from './open';
import { partsOf } from './parts';
import { addToCell } from './place';
import { inOneUndoStep } from './undo';

/** Milliseconds between two looks at a text that is being written. */
const REFRESH = 60;

/**
 * A proposed source, shown as marks in the editor of its cell.
 *
 * The editor and the shared model keep their text, so that nothing else can save, run or undo what
 * is not accepted. Changes from elsewhere move the parts; a part that they touch is withdrawn.
 */
export class SourceProposal extends CellProposal {
  constructor(cell: Cell, options: IProposalOptions) {
    super(cell, options);
    this._base = this._text = cell.model.sharedModel.getSource();
    this._message = options.trans.__('%1 is writing…', options.author);
    cell.model.sharedModel.changed.connect(this.onChanged, this);
    void this.open();
  }

  readonly changesSource = true;

  /** The part of the whole source that is written so far. */
  write(draft: string): void {
    this._draft = draft;
    void this._throttler.invoke();
  }

  /** What to show before the proposal is complete. */
  set message(value: React.ReactNode) {
    this._message = value;
    this.changed.emit();
  }

  /** The whole source. */
  complete(source: string): void {
    this._draft = source;
    this._isComplete = true;
    this.compare();
    if (this._parts.length) {
      this.refresh();
    } else {
      this.end(this._withdrawn ? 'refused' : 'unchanged');
    }
  }

  /** Show an error in place of the proposal. */
  fail(error: string): void {
    this._error = error;
    this._draft = this._base;
    this._parts = [];
    this.refresh();
  }

  override accept(): void {
    if (this._isComplete) {
      this.acceptParts(this._parts);
    }
  }

  override refuse(): void {
    this.end(this._accepted ? 'partly' : 'refused');
  }

  override focusNext(): boolean {
    if (this._parts.length < 2 || !this._isComplete) {
      return super.focusNext();
    }
    // The notebook moves the focus back to the editor before a shortcut runs.
    const next = this._visited + 1;
    this._visited = -1;
    return this.focusPart(next);
  }

  protected get state(): IBarState {
    const { trans, author } = this.options;
    const count = this._parts.length;
    const changes = trans._n('%2 proposes %1 change.', '%2 proposes %1 changes.', count, author);
    const withdrawn =
      this._withdrawn &&
      trans._n(
        '%1 was withdrawn: the cell was edited there.',
        '%1 were withdrawn: the cell was edited there.',
        this._withdrawn
      );
    return {
      error: this._error,
      message: this._isComplete ? [changes, withdrawn].filter(one => one).join(' ') : this._message,
      isComplete: this._isComplete,
      count
    };
  }

  protected override show(): void {
    const { cell } = this;
    if (cell instanceof MarkdownCell && cell.rendered) {
      this._wasRendered = true;
      cell.rendered = false;
    }
    if (cell.inputHidden) {
      this._wasHidden = true;
      cell.inputHidden = false;
    }
    addToCell(cell, this.bar, 'below');
    this.refresh();
  }

  protected override hide(): void {
    const { cell } = this;
    this._throttler.dispose();
    cell.model.sharedModel.changed.disconnect(this.onChanged, this);
    const { view } = this;
    if (view) {
      // A change of the text that ends the proposal may be under way in the editor.
      queueMicrotask(() => cell.isDisposed || showDiff(view, null));
    }
    // An edit that has withdrawn the proposal may go on.
    if (cell instanceof MarkdownCell && this._wasRendered && !cell.editor?.hasFocus()) {
      cell.rendered = true;
    }
    cell.inputHidden ||= this._wasHidden;
  }

  /** The view of the cell's editor; undefined before the cell was in view. */
  private get view(): EditorView | undefined {
    return (this.cell.editor as CodeMirrorEditor | null)?.editor;
  }

  /** Compare the text at the request with the draft, and follow the changes since. */
  private compare(): void {
    const parts = partsOf(this._base, this._draft, !this._isComplete);
    const followed = parts.map(part =>
      this._changes.reduce<IPart | null>((one, change) => one && moved(one, change), part)
    );
    this._parts = followed.filter(part => part !== null);
    this._withdrawn = this._isComplete ? parts.length - this._parts.length : 0;
  }

  private onChanged(): void {
    const text = this.cell.model.sharedModel.getSource();
    const change = changeBetween(this._text, text);
    this._text = text;
    if (!change || this._isAccepting) {
      return;
    }
    this._changes.push(change);
    const before = this._parts.length;
    this._parts = this._parts.map(part => moved(part, change)).filter(part => part !== null);
    if (!this._isComplete) {
      void this._throttler.invoke();
      return;
    }
    this._withdrawn += before - this._parts.length;
    if (this._parts.length) {
      queueMicrotask(() => this.refresh());
    } else {
      const { trans, author } = this.options;
      const text = trans.__('The proposal of %1 was withdrawn: the cell was edited.', author);
      Notification.warning(text, { autoClose: 5000 });
      this.end(this._accepted ? 'partly' : 'refused');
    }
  }

  private decide(part: IPart, isAccepted: boolean): void {
    const index = this._parts.indexOf(part);
    if (index < 0) {
      return;
    }
    const hadFocus = this.hasFocusedPart();
    this._visited = index - 1;
    if (isAccepted) {
      this.acceptParts([part]);
    } else {
      this._refused += 1;
      this._parts = this._parts.filter(one => one !== part);
      this.settle();
    }
    if (hadFocus && !this.focusPart(Math.min(index, this._parts.length - 1))) {
      this.cell.editor?.focus();
    }
  }

  private acceptParts(parts: readonly IPart[]): void {
    const { sharedModel } = this.cell.model;
    this._isAccepting = true;
    this._undo = inOneUndoStep(sharedModel, this._undo, () => {
      for (const part of backwards(parts)) {
        const { from, to, insert } = editOf(sharedModel.getSource(), part);
        sharedModel.updateSource(from, to, insert);
      }
    });
    this._isAccepting = false;
    this._accepted += parts.length;
    const changes = backwards(parts).map(changeOf);
    this._parts = this._parts
      .filter(part => !parts.includes(part))
      .map(part => changes.reduce<IPart | null>((one, change) => one && moved(one, change), part))
      .filter(part => part !== null);
    this.settle();
  }

  private settle(): void {
    if (this._parts.length) {
      this.refresh();
    } else if (this._accepted && !this._refused && !this._withdrawn) {
      this.end('accepted');
    } else {
      this.end(this._accepted ? 'partly' : 'refused');
    }
  }

  private refresh(): void {
    if (!this._isComplete) {
      this.compare();
    }
    this.changed.emit();
    void this.mark();
  }

  private async mark(): Promise<void> {
    const { languages } = openProposals;
    if (this._coloured?.text !== this._draft) {
      const coloured = (this._coloured = new ColouredText(this._draft));
      if (languages) {
        await coloured.colour(languages, this.cell.model.mimeType);
      }
    }
    const { view, _coloured: coloured } = this;
    if (!view || this.hasEnded || coloured?.text !== this._draft) {
      return;
    }
    const decide = (part: IPart, isAccepted: boolean) => this.decide(part, isAccepted);
    const { trans } = this.options;
    const hasButtons = this._isComplete && this._parts.length > 1;
    showDiff(view, { parts: this._parts, coloured, hasButtons, trans, decide });
  }

  private hasFocusedPart(): boolean {
    const active = document.activeElement;
    return active instanceof HTMLButtonElement && !!this.view?.contentDOM.contains(active);
  }

  private focusPart(index: number): boolean {
    const { view } = this;
    const part = this._parts[index];
    // A single part has no buttons besides those of the bar.
    if (!view || !part || this._parts.length < 2) {
      return false;
    }
    this._visited = index;
    const { doc } = view.state;
    const line = Math.max(1, Math.min(part.to, doc.lines));
    view.dispatch({ effects: EditorView.scrollIntoView(doc.line(line).to, { y: 'center' }) });
    const button = `.${ACCEPT_PART}[data-part="${index + 1}"]`;
    // The button may not be drawn before the next measurement of the view, at whose end the editor
    // takes the focus if it has the selection.
    view.requestMeasure({
      read: () => undefined,
      write: () => queueMicrotask(() => view.contentDOM.querySelector<HTMLElement>(button)?.focus())
    });
    return true;
  }

  private readonly _throttler = new Throttler(() => !this.hasEnded && this.refresh(), REFRESH);
  private readonly _base: string;
  private readonly _changes: ILineChange[] = [];
  private _text: string;
  private _draft = '';
  private _parts: readonly IPart[] = [];
  private _coloured: ColouredText | null = null;
  private _message: React.ReactNode;
  private _error = '';
  private _isComplete = false;
  private _isAccepting = false;
  private _accepted = 0;
  private _refused = 0;
  private _withdrawn = 0;
  private _undo: unknown = null;
  /** The place of the part that the user has gone to last. */
  private _visited = -1;
  private _wasRendered = false;
  private _wasHidden = false;
}
