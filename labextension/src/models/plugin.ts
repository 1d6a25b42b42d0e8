import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { IFormRendererRegistry } from '@jupyterlab/ui-components';

import { CLIENT_ID, DOMAIN, IOllamaClient, LAUNCHER_RANK } from '../client';
import { isChat } from '../cells';
import { CommandIDs } from '../commandIds';
import { COMPLETER_ID } from '../completer/plugin';
import { modelIcon } from '../icon';
import { followSettings } from '../settings';
import { ModelActions } from './actions';
import { modelChoice } from './modelChoice';
import { ModelsPanel } from './panel';

const MODELS_ID = 'jupyter-ollama:models';

export const models: JupyterFrontEndPlugin<void> = {
  id: MODELS_ID,
  description: 'A panel for the models of the server.',
  autoStart: true,
  requires: [IOllamaClient],
  optional: [
    ILayoutRestorer,
    ICommandPalette,
    INotebookTracker,
    ILauncher,
    ISettingRegistry,
    IFormRendererRegistry,
    ITranslator
  ],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    notebooks: INotebookTracker | null,
    launcher: ILauncher | null,
    settingRegistry: ISettingRegistry | null,
    forms: IFormRendererRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const settings = app.serviceManager.serverSettings;
    const actions = new ModelActions(client, settings, notebooks, trans);
    const panel = new ModelsPanel({ actions, trans });
    const chats = { client, capability: 'completion', trans };
    forms?.addRenderer(
      `${CLIENT_ID}.defaultModel`,
      modelChoice({ ...chats, empty: trans.__('Automatic: a loaded model, or the newest') })
    );
    forms?.addRenderer(
      `${COMPLETER_ID}.model`,
      modelChoice({
        ...chats,
        marked: ['insert', trans.__('can insert')],
        empty: trans.__('The default model')
      })
    );
    followSettings(app, settingRegistry, CLIENT_ID, settings => {
      actions.offer.settings = settings;
    });
    NotebookActions.executed.connect((_, { notebook, cell, success, error }) => {
      const lacksMagics =
        !success && error?.errorName === 'UsageError' && isChat(cell.model.sharedModel.getSource());
      const found = lacksMagics && notebooks?.find(one => one.content === notebook);
      if (found) {
        void actions.offer.consider(found.sessionContext.session?.kernel).then(made => {
          if (made && !panel.isVisible) {
            actions.offer.notify();
          }
        });
      }
    });
    app.shell.add(panel, 'left', { rank: 710, type: 'Models' });
    restorer?.add(panel, panel.id);
    // Cells can be inserted only while a notebook is open.
    notebooks?.currentChanged.connect(() => panel.update());
    app.commands.addCommand(CommandIDs.openModels, {
      label: args => (args.isLauncher ? trans.__('Models') : trans.__('Open Models')),
      caption: trans.__('Pull, load and delete models'),
      icon: modelIcon,
      describedBy: { args: { type: 'object', properties: { isLauncher: { type: 'boolean' } } } },
      execute: () => app.shell.activateById(panel.id)
    });
    palette?.addItem({ command: CommandIDs.openModels, category: trans.__('Ollama') });
    launcher?.add({
      command: CommandIDs.openModels,
      category: trans.__('Ollama'),
      categoryRank: LAUNCHER_RANK,
      rank: 2,
      args: { isLauncher: true }
    });
  }
};
