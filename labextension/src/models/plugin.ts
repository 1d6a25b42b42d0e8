import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { DOMAIN, IOllamaClient, LAUNCHER_RANK } from '../client';
import { CommandIDs } from '../commandIds';
import { modelIcon } from '../icon';
import { ModelActions } from './actions';
import { ModelsPanel } from './panel';

export const models: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-ollama:models',
  description: 'A panel for the models of the server.',
  autoStart: true,
  requires: [IOllamaClient],
  optional: [ILayoutRestorer, ICommandPalette, INotebookTracker, ILauncher, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    notebooks: INotebookTracker | null,
    launcher: ILauncher | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const settings = app.serviceManager.serverSettings;
    const actions = new ModelActions(client, settings, notebooks, trans);
    const panel = new ModelsPanel({ actions, trans });
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
