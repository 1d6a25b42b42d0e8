import { Clipboard, Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ModelSummary } from '../api';
import { chatCell, embedCell } from '../cells';
import { type IOllamaClient, isEmbedder } from '../client';
import { AutoloadOffer } from './autoload';
import { insertCell } from './insertion';

/** The actions on models, with their dialogs and error messages. */
export class ModelActions {
  constructor(
    readonly client: IOllamaClient,
    private readonly _settings: ServerConnection.ISettings,
    private readonly _notebooks: INotebookTracker | null,
    private readonly _trans: TranslationBundle
  ) {
    this.offer = new AutoloadOffer(_trans);
  }

  /** The offer to load the magics in every new kernel. */
  readonly offer: AutoloadOffer;

  /** Whether a notebook is open, for cells. */
  get hasNotebook(): boolean {
    return !!this._notebooks?.currentWidget;
  }

  load(model: string): Promise<void> {
    return this.doing(this.client.api.load(model));
  }

  /** Load a model and keep it without a time limit. */
  pin(model: string): Promise<void> {
    return this.doing(this.client.api.load(model, -1));
  }

  unload(model: string): Promise<void> {
    return this.doing(this.client.api.unload(model));
  }

  /** Prompt for a name and copy the model to it. */
  async copy(model: string): Promise<void> {
    const answer = await InputDialog.getText({
      title: this._trans.__('Copy %1', model),
      label: this._trans.__('New name'),
      okLabel: this._trans.__('Copy')
    });
    if (answer.button.accept && answer.value) {
      await this.doing(this.client.api.copy(model, answer.value));
    }
  }

  /** Delete a model after a confirmation. */
  async delete(model: string): Promise<void> {
    const answer = await showDialog({
      title: this._trans.__('Delete %1?', model),
      body: this._trans.__('Its files are removed from the server where no other model uses them.'),
      buttons: [
        Dialog.cancelButton({ label: this._trans.__('Cancel') }),
        Dialog.warnButton({ label: this._trans.__('Delete') })
      ]
    });
    if (answer.button.accept) {
      await this.doing(this.client.api.delete(model));
    }
  }

  /** Insert a cell that uses a model below the active cell: a question, or texts to embed. */
  async insertCell(model: ModelSummary): Promise<void> {
    const panel = this._notebooks?.currentWidget;
    if (!panel) {
      return;
    }
    const language = panel.model?.getMetadata('language_info')?.name ?? 'python';
    if (language !== 'python') {
      Notification.warning(this._trans.__('The magics need a Python kernel.'), { autoClose: 5000 });
      return;
    }
    const cell = isEmbedder(model) ? embedCell(model.name) : chatCell(model.name);
    if (await insertCell(panel, cell)) {
      await this.offer.consider(panel.sessionContext.session?.kernel);
    }
  }

  /** Copy the environment variables that point other clients to this server. */
  copyConnection(): void {
    const { baseUrl, token } = this._settings;
    const host = new URL(URLExt.join(baseUrl, 'ollama'), window.location.href).href;
    const lines = [`OLLAMA_HOST=${host}`, ...(token ? [`OLLAMA_API_KEY=${token}`] : [])];
    Clipboard.copyToSystem(lines.join('\n') + '\n');
    Notification.info(
      token
        ? this._trans.__('Copied. The token gives access to this server: keep it secret.')
        : this._trans.__('Copied.'),
      { autoClose: 4000 }
    );
  }

  private async doing(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      Notification.error((error as Error).message);
    }
    await this.client.watch.refresh();
  }
}
