import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { codeCheckIcon, textEditorIcon } from '@jupyterlab/ui-components';

import { cellError, cellSource } from '../chat/attachments';
import { messageOf } from '../chat/conversation';
import { languageIn } from '../chat/notebook';
import { DOMAIN, IOllamaClient, sizeOf } from '../client';
import { CommandIDs } from '../commandIds';
import { chatIcon } from '../icon';
import { propose } from './proposal';

const COMMANDS_ID = 'jupyter-ollama:commands';
const ONLY_CODE = 'Answer with the whole cell in one fence and nothing else.';
/** The number of characters of earlier cells in a request. */
const BEFORE = 4000;

export const commands: JupyterFrontEndPlugin<void> = {
  id: COMMANDS_ID,
  description: 'Commands that have a model explain, fix and document cells.',
  autoStart: true,
  requires: [IOllamaClient, INotebookTracker],
  optional: [ICommandPalette, ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    notebooks: INotebookTracker,
    palette: ICommandPalette | null,
    settingRegistry: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    // Loading the schema adds its toolbars, menus and shortcuts.
    void settingRegistry?.load(COMMANDS_ID).catch(() => undefined);
    let mayRun = true;
    void client.mayRun.then(may => {
      mayRun = may;
      changed();
    });
    const active = () => notebooks.activeCell;
    const isCode = () => mayRun && active()?.model.type === 'code';
    const hasError = () => isCode() && !!cellError(active(), '');
    const hasChat = () => app.commands.hasCommand(CommandIDs.askChat);
    const ask = (text: string, attachments: unknown[]) =>
      app.commands.execute(CommandIDs.askChat, { text, attachments } as never);
    const source = (cell: Cell) => cellSource(cell, trans.__('Cell'), languageIn(notebooks));
    const selected = (cell: Cell) => ({ ...source(cell), content: selectionOf(cell) });

    const rewrite = async (title: string, task: string, withError: boolean) => {
      const cell = active();
      const model = client.defaultModel() ?? (await modelAfterLook(client));
      if (!cell || !model) {
        Notification.warning(trans.__('No model is installed.'), { autoClose: 5000 });
        return;
      }
      const before = cell.model.sharedModel.getSource();
      const error = withError ? cellError(cell, trans.__('Error')) : undefined;
      const earlier = codeBefore(notebooks).slice(-BEFORE);
      const context = { ...source(cell), name: trans.__('Cells before'), content: earlier };
      const attachments = [
        ...(withError && earlier ? [context] : []),
        source(cell),
        ...(error ? [error] : [])
      ];
      const question = messageOf({ role: 'user', content: `${task} ${ONLY_CODE}`, attachments });
      const size = () => sizeOf(client.watch.state, model);
      if (size() === undefined) {
        // No panel has listed the models yet.
        void client.watch.refresh();
      }
      const { api } = client;
      const code = await propose({ api, model, messages: [question], before, title, trans, size });
      // If the cell was edited meanwhile, the proposal is for another text.
      if (code !== undefined && !cell.isDisposed) {
        if (cell.model.sharedModel.getSource() === before) {
          cell.model.sharedModel.setSource(code);
        } else {
          Notification.warning(trans.__('The cell has changed meanwhile.'), { autoClose: 5000 });
        }
      }
    };

    const described = { args: { type: 'object', properties: {} } } as const;
    app.commands.addCommand(CommandIDs.explainError, {
      label: trans.__('Explain Error'),
      caption: trans.__('Have a model explain the error of the cell'),
      icon: chatIcon,
      describedBy: described,
      isVisible: () => hasChat() && hasError(),
      isEnabled: () => hasChat() && hasError(),
      execute: () => {
        const cell = active();
        const error = cellError(cell, trans.__('Error'));
        if (cell && error) {
          return ask(trans.__('Explain the error.'), [source(cell), error]);
        }
      }
    });
    app.commands.addCommand(CommandIDs.fixCell, {
      label: trans.__('Fix Cell'),
      caption: trans.__('Have a model propose a cell without the error'),
      icon: codeCheckIcon,
      describedBy: described,
      isVisible: hasError,
      isEnabled: hasError,
      execute: () => rewrite(trans.__('Fix Cell'), 'Fix the error in the cell.', true)
    });
    app.commands.addCommand(CommandIDs.explainSelection, {
      label: trans.__('Explain Selection'),
      caption: trans.__('Have a model explain the selection or the cell'),
      icon: chatIcon,
      describedBy: described,
      isVisible: () => hasChat() && isCode(),
      isEnabled: () => hasChat() && isCode(),
      execute: () => {
        const cell = active();
        return cell && ask(trans.__('Explain this code.'), [selected(cell)]);
      }
    });
    app.commands.addCommand(CommandIDs.documentSelection, {
      label: trans.__('Document Cell'),
      caption: trans.__('Have a model propose docstrings and comments'),
      icon: textEditorIcon,
      describedBy: described,
      isVisible: isCode,
      isEnabled: isCode,
      execute: () => {
        const cell = active();
        const part = cell && selectionOf(cell);
        const whole = !cell || part === cell.model.sharedModel.getSource();
        const where = whole ? 'this code' : `this part of the code:\n\n${part}\n\n`;
        const task = `Add docstrings and helpful comments to ${where}. Change nothing else.`;
        return rewrite(trans.__('Document Cell'), task, false);
      }
    });
    const ids = [
      CommandIDs.explainError,
      CommandIDs.fixCell,
      CommandIDs.explainSelection,
      CommandIDs.documentSelection
    ];
    const changed = () => ids.forEach(id => app.commands.notifyCommandChanged(id));
    notebooks.activeCellChanged.connect(changed);
    NotebookActions.executed.connect(changed);
    ids.forEach(command => palette?.addItem({ command, category: trans.__('Ollama') }));
  }
};

/** Return the selection in a cell, or the whole source. */
function selectionOf(cell: Cell): string {
  const text = cell.model.sharedModel.getSource();
  const { editor } = cell;
  if (!editor) {
    return text;
  }
  const { start, end } = editor.getSelection();
  const [from, to] = [editor.getOffsetAt(start), editor.getOffsetAt(end)].sort((a, b) => a - b);
  return text.slice(from, to).trim() ? text.slice(from, to) : text;
}

/** Return the code of the cells before the active one. */
function codeBefore(notebooks: INotebookTracker): string {
  const { widgets = [], activeCellIndex = 0 } = notebooks.currentWidget?.content ?? {};
  return widgets
    .slice(0, activeCellIndex)
    .filter(cell => cell.model.type === 'code')
    .map(cell => cell.model.sharedModel.getSource())
    .join('\n\n');
}

async function modelAfterLook(client: IOllamaClient): Promise<string | undefined> {
  await client.watch.refresh();
  return client.defaultModel();
}
