import { Notification } from '@jupyterlab/apputils';
import type { Kernel } from '@jupyterlab/services';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import { type ISignal, Signal } from '@lumino/signaling';

import { LOAD_MAGICS } from '../cells';
import { evaluate } from '../kernel';

const SETTING = 'offerAutoload';
/** A Python expression of a kernel: a function of the client package for the kernel's profile. */
const expression = (name: string) =>
  `__import__('jupyter_ollama_client.autoload', fromlist=['${name}']).${name}` +
  '(get_ipython().profile_dir.location)';

/** The offer to load the magics in every new kernel. It is made until the user has answered. */
export class AutoloadOffer {
  constructor(private readonly _trans: TranslationBundle) {}

  /** Whether to ask the user. */
  get isOpen(): boolean {
    return !!this._kernel;
  }

  /** Emitted when the offer is made or answered. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Use the settings, which remember the answer. Without them nothing is offered. */
  set settings(settings: ISettingRegistry.ISettings) {
    this._settings = settings;
  }

  /** Make the offer if a kernel could load the magics by itself and does not. */
  async consider(kernel: Kernel.IKernelConnection | null | undefined): Promise<boolean> {
    const isWanted = this._settings?.get(SETTING).composite === true;
    if (
      this.isOpen ||
      !kernel ||
      !isWanted ||
      (await evaluate(kernel, expression('is_enabled'))) !== 'False'
    ) {
      return false;
    }
    this._kernel = kernel;
    this._changed.emit();
    return true;
  }

  /** The question to the user. */
  get question(): string {
    return this._trans.__(
      '%1 needs %2 in each notebook. Load the magics in every new kernel instead?',
      '%%chat',
      LOAD_MAGICS
    );
  }

  /** The answers to it, with what they do. */
  get answers(): Notification.IAction[] {
    const { _trans: trans } = this;
    return [
      {
        label: trans.__('Always load'),
        displayType: 'accent',
        callback: () => void this.accept()
      },
      { label: trans.__('No, thanks'), callback: () => void this.dismiss() }
    ];
  }

  /** Make the offer in a notification. */
  notify(): void {
    this._notification = Notification.info(this.question, {
      autoClose: false,
      actions: this.answers
    });
  }

  /** Have every new kernel load the magics, and this one now. */
  async accept(): Promise<void> {
    const kernel = this._kernel;
    const trans = this._trans;
    await this.dismiss();
    if (kernel && (await evaluate(kernel, expression('enable'))) !== undefined) {
      kernel.requestExecute({ code: LOAD_MAGICS, silent: true, store_history: false }, true);
      Notification.success(trans.__('New kernels load the magics by themselves.'), {
        autoClose: 4000
      });
    } else {
      Notification.error(
        trans.__('The kernel cannot do that. Try: %1', 'jupyter ollama setup --autoload')
      );
    }
  }

  /** Close the offer and do not make it again. */
  async dismiss(): Promise<void> {
    this._kernel = undefined;
    if (this._notification) {
      Notification.dismiss(this._notification);
    }
    this._changed.emit();
    await this._settings?.set(SETTING, false);
  }

  private readonly _changed = new Signal<this, void>(this);
  private _notification = '';
  private _kernel?: Kernel.IKernelConnection;
  private _settings?: ISettingRegistry.ISettings;
}
