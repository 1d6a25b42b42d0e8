import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { IRunningSessionManagers, type IRunningSessions } from '@jupyterlab/running';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import type { LoadedModel } from './api';
import { DOMAIN, IOllamaClient } from './client';
import { CommandIDs } from './commandIds';
import { modelIcon } from './icon';
import { bytes } from './sizes';

export const running: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-ollama:running',
  description: 'The loaded models in the panel of what is running.',
  autoStart: true,
  requires: [IOllamaClient],
  // Notebook pages of Notebook 7 have no such panel.
  optional: [IRunningSessionManagers, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    managers: IRunningSessionManagers | null,
    translator: ITranslator | null
  ) => {
    if (!managers) {
      return;
    }
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const unload = async (model: string) => {
      try {
        await client.api.unload(model);
      } catch (error) {
        Notification.error(String((error as Error).message));
      }
      await client.watch.refresh();
    };
    const item = (model: LoadedModel): IRunningSessions.IRunningItem => ({
      open: () => void app.commands.execute(CommandIDs.openModels),
      shutdown: () => void unload(model.name),
      icon: () => modelIcon,
      label: () => model.name,
      detail: () => bytes(model.size),
      labelTitle: () =>
        trans.__(
          '%1: %2 in memory, %3 tokens of context',
          model.name,
          bytes(model.size),
          model.context_length
        )
    });
    managers.add({
      name: trans.__('Models'),
      running: () => client.watch.state.loaded.map(item),
      refreshRunning: () => void client.watch.refresh(),
      runningChanged: client.watch.changed,
      shutdownAll: () => client.watch.state.loaded.forEach(one => void unload(one.name)),
      shutdownLabel: trans.__('Unload'),
      shutdownAllLabel: trans.__('Unload All'),
      shutdownAllConfirmationText: trans.__('Unload all models?')
    });
    void app.restored.then(() => client.watch.watch());
  }
};
