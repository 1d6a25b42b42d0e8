import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { INotebookTracker } from '@jupyterlab/notebook';

import type { ISource } from './conversation';

/** Return the place of the active cell. */
export function activePlace(notebooks: INotebookTracker): ISource | undefined {
  const { currentWidget, activeCell } = notebooks;
  return currentWidget && activeCell
    ? { path: currentWidget.context.path, cell: activeCell.model.id }
    : undefined;
}

/** Open the file, the cell or the web page from which an attachment was taken. */
export async function openSource(
  { path, cell, url }: ISource,
  documents: IDocumentManager | null,
  notebooks: INotebookTracker | null
): Promise<void> {
  if (url && /^https?:\/\//i.test(url)) {
    window.open(url, '_blank', 'noopener,noreferrer');
    return;
  }
  const widget = path ? documents?.openOrReveal(path) : undefined;
  await widget?.context.ready;
  const panel = cell ? notebooks?.find(one => one === widget) : undefined;
  await panel?.revealed;
  const index = panel?.content.widgets.findIndex(one => one.model.id === cell) ?? -1;
  if (panel && index >= 0) {
    panel.content.activeCellIndex = index;
    await panel.content.scrollToItem(index, 'smart');
  }
}
