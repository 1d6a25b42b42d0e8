import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { type ISignal, Signal } from '@lumino/signaling';
import type { CommandRegistry } from '@lumino/commands';

import { CLIENT_ID, DOMAIN, IOllamaClient } from './client';
import { CommandIDs } from './commandIds';
import { modelIcon } from './icon';
import { followSettings } from './settings';
import { bytes } from './sizes';
import type { IServerState, ServerWatch } from './watch';

const STATUS_ID = 'jupyter-ollama:status';

/** Return the lowest queue position of the waiting requests, if any. */
export function queuePosition(state: IServerState): number | undefined {
  const places = state.requests.flatMap(one => (one.position === undefined ? [] : [one.position]));
  return places.length ? Math.min(...places) : undefined;
}

/** The loaded models and their memory; a click opens the panel of models. */
class StatusItem extends ReactWidget {
  constructor(
    private readonly _watch: ServerWatch,
    private readonly _commands: CommandRegistry,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('jpo-status');
    this._watch.changed.connect(this._onChanged, this);
  }

  /** The memory in gigabytes from which the item warns; 0 for never. */
  set warnFrom(gigabytes: number) {
    this._warnFrom = gigabytes * 1e9;
    this.update();
  }

  /** Emitted when the item appears or disappears. */
  get activeChanged(): ISignal<this, void> {
    return this._activeChanged;
  }

  /** Whether there is something to show. */
  isActive(): boolean {
    const state = this._watch.state;
    return state.loaded.length > 0 || state.requests.some(one => one.state !== 'running');
  }

  override dispose(): void {
    Signal.clearData(this);
    super.dispose();
  }

  protected override render(): React.ReactElement {
    return (
      <UseSignal signal={this._watch.changed} initialArgs={this._watch.state}>
        {() => this._item(this._watch.state)}
      </UseSignal>
    );
  }

  private _item(state: IServerState): React.ReactElement {
    const trans = this._trans;
    const memory = state.loaded.reduce((sum, one) => sum + one.size, 0);
    const warns = this._warnFrom > 0 && memory >= this._warnFrom;
    const place = queuePosition(state);
    const loading = state.requests.some(one => one.state === 'loading');
    const names = state.loaded.map(one => one.name).join(', ');
    const shown = [
      state.loaded.length > 1
        ? trans._n('%1 model', '%1 models', state.loaded.length)
        : names.replace(/:latest$/, ''),
      memory ? bytes(memory) : '',
      // The warning must not depend on colour alone.
      warns ? trans.__('much memory') : '',
      loading ? trans.__('loading…') : '',
      place === undefined ? '' : trans.__('waiting, place %1', place)
    ].filter(part => part);
    return (
      <button
        className={`jpo-status-button${warns ? ' jpo-warning' : ''}`}
        title={trans.__('Loaded models: %1. Click to open the models panel.', names || '–')}
        onClick={() => void this._commands.execute(CommandIDs.openModels)}
      >
        <modelIcon.react tag="span" height="14px" />
        {shown.join(' · ')}
      </button>
    );
  }

  private _onChanged(): void {
    const active = this.isActive();
    if (active !== this._active) {
      this._active = active;
      this._activeChanged.emit();
    }
  }

  private readonly _activeChanged = new Signal<this, void>(this);
  private _active = false;
  private _warnFrom = 0;
}

export const status: JupyterFrontEndPlugin<void> = {
  id: STATUS_ID,
  description: 'The loaded models and their memory in the status bar.',
  autoStart: true,
  requires: [IOllamaClient],
  // Notebook 7 has no status bar.
  optional: [IStatusBar, ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    statusBar: IStatusBar | null,
    settingRegistry: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    if (!statusBar) {
      return;
    }
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const item = new StatusItem(client.watch, app.commands, trans);
    statusBar.registerStatusItem(STATUS_ID, {
      item,
      align: 'left',
      rank: 3,
      isActive: () => item.isActive(),
      activeStateChanged: item.activeChanged
    });
    void app.restored.then(() => client.watch.watch());
    followSettings(app, settingRegistry, CLIENT_ID, settings => {
      item.warnFrom = settings.get('warnGigabytes').composite as number;
    });
  }
};
