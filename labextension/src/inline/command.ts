import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { type Cell, MarkdownCell } from '@jupyterlab/cells';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { IStateDB } from '@jupyterlab/statedb';
import type { TranslationBundle } from '@jupyterlab/translation';
import { editIcon } from '@jupyterlab/ui-components';

import type { IOllamaClient } from '../client';
import { CommandIDs } from '../commandIds';
import { InstructionHistory } from './history';
import { InlineSession } from './session';

interface IInlineOptions {
  readonly client: IOllamaClient;
  readonly notebooks: INotebookTracker;
  readonly state: IStateDB | null;
  readonly mayRun: () => boolean;
  readonly trans: TranslationBundle;
}

/** Add the command that opens a prompt in the active cell. Returns its id. */
export function addInlinePrompt(app: JupyterFrontEnd, options: IInlineOptions): string {
  const { notebooks, state, trans, mayRun } = options;
  const history = new InstructionHistory(state);
  const sessions = new WeakMap<Cell, InlineSession>();
  app.commands.addCommand(CommandIDs.editCell, {
    label: trans.__('Write or Edit Cell'),
    caption: trans.__('Have a model write the cell, or change it or its selected lines'),
    icon: editIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    isVisible: () => mayRun() && !!notebooks.activeCell,
    isEnabled: () => mayRun() && !!notebooks.activeCell,
    execute: async () => {
      const cell = notebooks.activeCell;
      const panel = notebooks.currentWidget;
      if (!cell || !panel) {
        return;
      }
      if (cell.model.getMetadata('editable') === false) {
        Notification.warning(trans.__('The cell is read-only.'), { autoClose: 5000 });
        return;
      }
      let session = sessions.get(cell);
      if (!session || session.isClosed) {
        if (cell instanceof MarkdownCell) {
          cell.rendered = false;
        }
        await cell.ready;
        session = new InlineSession(cell, { ...options, history });
        sessions.set(cell, session);
      }
      session.focus();
    }
  });
  return CommandIDs.editCell;
}
