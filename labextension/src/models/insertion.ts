import { type NotebookPanel, NotebookActions } from '@jupyterlab/notebook';

import { type INewCell, LOAD_MAGICS } from '../cells';
import { evaluate } from '../kernel';

/** The source of a cell that adds the magics and does nothing else. */
const LOADS_MAGICS = /^\s*%load_ext\s+jupyter_ollama(_magics)?\s*$/;
const HAS_MAGICS = "'chat' in get_ipython().magics_manager.magics['cell']";

/**
 * Insert a cell below the active one and select a part of it.
 *
 * If the kernel does not have the magics, a cell that loads them is inserted first, unless the
 * notebook has one, and run. Return whether that was necessary.
 */
export async function insertCell(panel: NotebookPanel, cell: INewCell): Promise<boolean> {
  const { content, sessionContext } = panel;
  const kernel = sessionContext.session?.kernel;
  const hasMagics = !!kernel && (await evaluate(kernel, HAS_MAGICS)) === 'True';
  if (!hasMagics) {
    const known = content.widgets.find(
      one => one.model.type === 'code' && LOADS_MAGICS.test(one.model.sharedModel.getSource())
    );
    if (!known) {
      put(panel, LOAD_MAGICS);
    }
    const loading = known ?? content.activeCell;
    if (kernel && loading) {
      // It is queued if the kernel is busy; a later cell runs after it in any case.
      void NotebookActions.runCells(content, [loading], sessionContext);
    }
  }
  put(panel, cell.source);
  await content.activeCell?.ready;
  content.activate();
  content.mode = 'edit';
  const { editor } = content.activeCell ?? {};
  const start = cell.source.indexOf(cell.selected);
  const positions = [start, start + cell.selected.length].map(at => editor?.getPositionAt(at));
  if (editor && positions[0] && positions[1]) {
    editor.focus();
    editor.setSelection({ start: positions[0], end: positions[1] });
  }
  return !hasMagics;
}

/** Put code into the active cell if that is an empty code cell, else into a new one below. */
function put({ content }: NotebookPanel, source: string): void {
  const active = content.activeCell?.model;
  if (active?.type === 'code' && !active.sharedModel.getSource().trim()) {
    active.sharedModel.setSource(source);
    return;
  }
  const at = content.model?.cells.length ? content.activeCellIndex + 1 : 0;
  const cell = { cell_type: 'code' as const, metadata: { trusted: true }, source };
  content.model?.sharedModel.insertCell(at, cell);
  content.activeCellIndex = at;
  content.deselectAll();
}
