import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

/**
 * Ask what to do with cells that the user has changed since.
 *
 * `cells` has the positions of changed cells, and an empty text for each deleted one. Null cancels.
 */
export async function confirmUndo(
  cells: readonly string[],
  trans: TranslationBundle
): Promise<'keep' | 'undo' | null> {
  const changed = cells.filter(cell => cell);
  const deleted = cells.length - changed.length;
  const lines = [
    ...(changed.length ? [trans.__('You have changed cell %1 since.', changed.join(', '))] : []),
    ...(deleted
      ? [trans._n('You have deleted %1 cell since.', 'You have deleted %1 cells since.', deleted)]
      : [])
  ];
  const keep = Dialog.okButton({ label: trans.__('Keep my changes') });
  const undo = Dialog.warnButton({ label: trans.__('Undo these too') });
  const { button } = await showDialog({
    title: trans.__('Undo all'),
    body: `${lines.join(' ')} ${trans.__('What happens to your changes?')}`,
    buttons: [Dialog.cancelButton(), undo, keep],
    defaultButton: 2
  });
  return button === keep ? 'keep' : button === undo ? 'undo' : null;
}
