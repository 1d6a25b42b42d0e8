import { Clipboard } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog } from '@jupyterlab/filebrowser';
import { type INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import type { IKernelspecMetadata } from '@jupyterlab/nbformat';
import type { ServiceManager } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { addBelowIcon, copyIcon, editIcon } from '@jupyterlab/ui-components';

import { type Outcome, proposeSource } from '../diff';
import { languageIn } from '../kernel';
import { cellError, cellOutputs, cellSource } from './attachments';
import type { IAttachment } from './conversation';
import { readContents } from './files';
import type { ICodeAction } from './markdown';
import { activePlace } from './openSource';
import type { IAttachAction } from './props';

/** Return the kernel metadata of the current notebook, or of the server's default kernel. */
export function kernelIn(
  notebooks: INotebookTracker | null,
  manager: ServiceManager.IManager
): IKernelspecMetadata | undefined {
  const current = notebooks?.currentWidget?.model?.getMetadata('kernelspec');
  const specs = manager.kernelspecs.specs;
  const first = specs?.kernelspecs[specs.default];
  return (
    current ??
    (first && { name: first.name, display_name: first.display_name, language: first.language })
  );
}

/** Return a notice for each decision about proposed code. */
function notices(trans: TranslationBundle): Readonly<Record<Outcome, string>> {
  return {
    accepted: trans.__('Replaced.'),
    partly: trans.__('Replaced in part.'),
    refused: trans.__('Refused.'),
    unchanged: trans.__('The cell has this code already.')
  };
}

/** Return the actions on the code of an answer. */
export function codeActions(
  notebooks: INotebookTracker | null,
  trans: TranslationBundle,
  notify: (message: string) => void
): ICodeAction[] {
  const copy: ICodeAction = {
    icon: copyIcon,
    label: trans.__('Copy'),
    run: code => {
      Clipboard.copyToSystem(code);
      notify(trans.__('Copied.'));
    }
  };
  if (!notebooks) {
    return [copy];
  }
  const put = async (code: string, below: boolean) => {
    const content = notebooks.currentWidget?.content;
    if (!content) {
      notify(trans.__('No notebook is open.'));
      return;
    }
    if (below) {
      NotebookActions.insertBelow(content);
      content.activeCell?.model.sharedModel.setSource(code);
    }
    void content.scrollToItem(content.activeCellIndex, 'smart');
    if (below) {
      notify(trans.__('Inserted below.'));
    } else if (content.activeCell) {
      notify(trans.__('Accept or refuse the changes in the cell.'));
      try {
        const options = { trans, author: trans.__('The chat') };
        const outcome = await proposeSource(content.activeCell, code, options);
        notify(notices(trans)[outcome]);
      } catch (error) {
        notify((error as Error).message);
      }
    }
  };
  return [
    { icon: addBelowIcon, label: trans.__('Insert below'), run: code => put(code, true) },
    { icon: editIcon, label: trans.__('Replace cell'), run: code => put(code, false) },
    copy
  ];
}

/** Return the actions that attach something to a question. */
export function attachActions(
  notebooks: INotebookTracker | null,
  documents: IDocumentManager | null,
  trans: TranslationBundle
): IAttachAction[] {
  const actions: IAttachAction[] = [];
  if (notebooks) {
    const cell = () => notebooks.currentWidget?.content.activeCell;
    const placed = (found: readonly IAttachment[]) =>
      found.map(one => ({ ...one, source: activePlace(notebooks) }));
    actions.push(
      {
        label: trans.__('Cell'),
        attach: async () => {
          const active = cell();
          return active
            ? placed([cellSource(active, trans.__('Cell'), languageIn(notebooks))])
            : trans.__('No notebook is open.');
        }
      },
      {
        label: trans.__('Output'),
        attach: async () => {
          const found = cellOutputs(cell(), trans.__('Output'));
          return found.length ? placed(found) : trans.__('The cell has no output.');
        }
      },
      {
        label: trans.__('Error'),
        attach: async () => {
          const found = cellError(cell(), trans.__('Error'));
          return found ? placed([found]) : trans.__('The cell has no error.');
        }
      }
    );
  }
  if (documents) {
    actions.push({
      label: trans.__('File…'),
      attach: async () => {
        const chosen = await FileDialog.getOpenFiles({ manager: documents });
        const paths = (chosen.value ?? []).map(({ path }) => path);
        const read = await readContents(paths, documents.services.contents, trans);
        return read.problems.length ? read.problems.join(' ') : read.attachments;
      }
    });
  }
  return actions;
}
