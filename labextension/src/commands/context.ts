import type { INotebookTracker } from '@jupyterlab/notebook';

import type { IOllamaClient } from '../client';

/** The number of characters of earlier cells in a request. */
const BEFORE = 4000;

/** Return the end of the code of the cells before the active one. */
export function codeBefore(notebooks: INotebookTracker): string {
  const { widgets = [], activeCellIndex = 0 } = notebooks.currentWidget?.content ?? {};
  return widgets
    .slice(0, activeCellIndex)
    .filter(cell => cell.model.type === 'code')
    .map(cell => cell.model.sharedModel.getSource())
    .join('\n\n')
    .slice(-BEFORE);
}

/** Return the model to use; it asks the server if no component has listed the models yet. */
export async function modelFor(client: IOllamaClient): Promise<string | undefined> {
  if (!client.defaultModel()) {
    await client.watch.refresh();
  }
  return client.defaultModel();
}
