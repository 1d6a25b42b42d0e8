import { type Cell, CodeCell } from '@jupyterlab/cells';
import type { Notebook } from '@jupyterlab/notebook';

import { cutTo, estimateTokens } from './tokens';

const NOTEBOOK_TOKENS = 3000;
const CELL_TOKENS = 1000;

/** Return the selected text of a cell, "" if there is none. */
export function selectionOf(cell: Cell | null | undefined): string {
  const { editor } = cell ?? {};
  if (!cell || !editor) {
    return '';
  }
  const { start, end } = editor.getSelection();
  const [from, to] = [editor.getOffsetAt(start), editor.getOffsetAt(end)].sort((a, b) => a - b);
  const text = cell.model.sharedModel.getSource().slice(from, to);
  return text.trim() ? text : '';
}

/** Return the sources of a notebook's cells; of a long one those around the active cell. */
export function wholeNotebook({ widgets, activeCellIndex }: Notebook): string {
  const texts = widgets.map((cell, at) => {
    const count = cell instanceof CodeCell ? cell.model.executionCount : null;
    const kind = cell.model.type === 'code' ? `In[${count ?? ' '}]` : cell.model.type;
    const mark = at === activeCellIndex ? ' (the active cell)' : '';
    return `${kind}${mark}:\n${cutTo(cell.model.sharedModel.getSource(), CELL_TOKENS)}`;
  });
  let [from, to] = [Math.max(activeCellIndex, 0), Math.max(activeCellIndex, 0)];
  let left = NOTEBOOK_TOKENS - estimateTokens(texts[from] ?? '');
  // The cells before the active one first.
  while (from > 0 && (left -= estimateTokens(texts[from - 1]) + 2) >= 0) {
    from -= 1;
  }
  while (to < texts.length - 1 && (left -= estimateTokens(texts[to + 1]) + 2) >= 0) {
    to += 1;
  }
  const before = from ? [`… ${from} cells before`] : [];
  const after = to < texts.length - 1 ? [`… ${texts.length - 1 - to} cells after`] : [];
  return [...before, ...texts.slice(from, to + 1), ...after].join('\n\n');
}
