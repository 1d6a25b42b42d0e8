import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { codeCheckIcon, textEditorIcon } from '@jupyterlab/ui-components';

import { cellError, cellFailure, cellSource } from '../chat/attachments';
import { messageOf } from '../chat/conversation';
import { languageIn } from '../kernel';
import { activePlace } from '../chat/openSource';
import { DOMAIN, IOllamaClient } from '../client';
import { CommandIDs } from '../commandIds';
import { addProposalCommands } from '../diff/commands';
import { chatIcon } from '../icon';
import { addInlinePrompt } from '../inline/command';
import { codeOf } from './answerCode';
import { codeBefore, modelFor } from './context';
import { rewrite } from './rewrite';

const COMMANDS_ID = 'jupyter-ollama:commands';
const ONLY_CODE = 'Answer with the whole cell in one fence and nothing else.';

export const commands: JupyterFrontEndPlugin<void> = {
  id: COMMANDS_ID,
  description: 'Commands that have a model explain, fix and document cells.',
  autoStart: true,
  requires: [IOllamaClient, INotebookTracker],
  optional: [ICommandPalette, ISettingRegistry, IEditorLanguageRegistry, IStateDB, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    notebooks: INotebookTracker,
    palette: ICommandPalette | null,
    settingRegistry: ISettingRegistry | null,
    languages: IEditorLanguageRegistry | null,
    state: IStateDB | null,
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
    const source = (cell: Cell) => ({
      ...cellSource(cell, trans.__('Cell'), languageIn(notebooks)),
      source: activePlace(notebooks)
    });
    const selected = (cell: Cell) => ({ ...source(cell), content: selectionOf(cell) });

    const propose = async (task: string, withError: boolean) => {
      const cell = active();
      const model = await modelFor(client);
      if (!cell || !model) {
        Notification.warning(trans.__('No model is installed.'), { autoClose: 5000 });
        return;
      }
      const error = withError ? cellError(cell, trans.__('Error')) : undefined;
      const earlier = codeBefore(notebooks);
      const context = { ...source(cell), name: trans.__('Cells before'), content: earlier };
      const attachments = [
        ...(withError && earlier ? [context] : []),
        source(cell),
        ...(error ? [error] : [])
      ];
      const question = messageOf({ role: 'user', content: `${task} ${ONLY_CODE}`, attachments });
      await rewrite(cell, { client, model, messages: [question], trans, sourceOf: codeOf });
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
        const names = [trans.__('Cell'), trans.__('Error')] as const;
        const failure = cellFailure(active(), ...names, languageIn(notebooks));
        if (failure.length) {
          return ask(trans.__('Explain the error.'), failure);
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
      execute: () => propose('Fix the error in the cell.', true)
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
        return propose(task, false);
      }
    });
    const ids = [
      CommandIDs.explainError,
      CommandIDs.fixCell,
      CommandIDs.explainSelection,
      CommandIDs.documentSelection,
      addInlinePrompt(app, { client, notebooks, state, mayRun: () => mayRun, trans })
    ];
    const changed = () => ids.forEach(id => app.commands.notifyCommandChanged(id));
    notebooks.activeCellChanged.connect(changed);
    NotebookActions.executed.connect(changed);
    const all = [...ids, ...addProposalCommands(app, notebooks, languages, trans)];
    all.forEach(command => palette?.addItem({ command, category: trans.__('Ollama') }));
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
