import type { TranslationBundle } from '@jupyterlab/translation';
import { WidgetType } from '@codemirror/view';

import type { ColouredText } from './coloured';
import type { IPart } from './lines';
import type { IRange } from './parts';

/** The class of the button that accepts a part. */
export const ACCEPT_PART = 'jpo-part-accept';

/** Keys that the notebook answers by moving the focus to the editor. */
const MODIFIERS = ['Alt', 'Control', 'Meta', 'Shift'];

/** What a block of added lines shows. */
export interface IAddedLines {
  readonly part: IPart;
  readonly coloured: ColouredText;
  /** The characters of the proposed text that differ within lines. */
  readonly marked: readonly IRange[];
  /** The place of the part among all, from 1; 0 if it has no buttons. */
  readonly number: number;
  readonly count: number;
  readonly trans: TranslationBundle;
  readonly decide: (part: IPart, isAccepted: boolean) => void;
}

/** The lines of a part that would be added, and its buttons. They are no text of the editor. */
export class AddedLines extends WidgetType {
  constructor(private readonly _shown: IAddedLines) {
    super();
  }

  override eq({ _shown: other }: AddedLines): boolean {
    const { part, coloured, number, count } = this._shown;
    const isSame = part === other.part && coloured === other.coloured;
    return isSame && number === other.number && count === other.count;
  }

  override toDOM(): HTMLElement {
    const { part, coloured, marked, number, trans } = this._shown;
    const node = document.createElement('div');
    node.className = 'jpo-diff-block';
    if (part.lines.length) {
      const added = node.appendChild(document.createElement('div'));
      added.className = 'jpo-diff-added';
      added.setAttribute('role', 'group');
      added.setAttribute('aria-label', trans.__('Added lines'));
      part.lines.forEach((_, index) => {
        const line = added.appendChild(document.createElement('div'));
        line.className = 'jpo-diff-added-line';
        coloured.write(part.at + index, marked, line);
      });
    }
    if (number) {
      node.append(this.buttons());
    }
    return node;
  }

  private buttons(): HTMLElement {
    const { part, number, count, trans, decide } = this._shown;
    const row = document.createElement('div');
    row.className = 'jpo-part-buttons';
    const add = (text: string, label: string, className: string, isAccepted: boolean) => {
      const button = row.appendChild(document.createElement('button'));
      button.type = 'button';
      button.textContent = text;
      button.title = label;
      button.setAttribute('aria-label', label);
      button.className = `jpo-part-button ${className}`;
      button.dataset.part = String(number);
      button.addEventListener('click', () => decide(part, isAccepted));
    };
    const place = [String(number), String(count)];
    add(trans.__('Accept'), trans.__('Accept change %1 of %2', ...place), ACCEPT_PART, true);
    add(trans.__('Refuse'), trans.__('Refuse change %1 of %2', ...place), '', false);
    keepKeys(row);
    // In edit mode, the notebook would give the focus back to the editor.
    row.addEventListener('focusin', event => event.stopPropagation());
    return row;
  }
}

/** Keep the keys and clicks on the buttons of a node from the editor and the notebook around it. */
export function keepKeys(node: HTMLElement): void {
  node.addEventListener('mousedown', event => {
    if (event.target instanceof HTMLElement && event.target.closest('button')) {
      // The editor keeps the focus and its selection.
      event.preventDefault();
    }
  });
  node.addEventListener('keydown', event => {
    const isShortcut = event.ctrlKey || event.altKey || event.metaKey;
    if (!isShortcut || MODIFIERS.includes(event.key)) {
      event.stopPropagation();
    }
  });
}
