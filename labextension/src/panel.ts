import { type LabIcon, ReactWidget } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';

import type { ServerWatch } from './watch';

/** A panel beside the main area. It polls the server and its models while it is visible. */
export abstract class Panel extends ReactWidget {
  constructor(
    id: string,
    caption: string,
    icon: LabIcon,
    private readonly _watch: ServerWatch
  ) {
    super();
    this.id = id;
    this.addClass('jpo-panel');
    this.title.icon = icon;
    this.title.caption = caption;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', caption);
  }

  override dispose(): void {
    this._watching?.dispose();
    super.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._watching ??= this._watch.watch(true);
    this.update();
  }

  // Lab attaches hidden panels at its start. They are rendered when they are shown first.
  protected override onUpdateRequest(message: Message): void {
    this._isShown ||= this.isVisible;
    if (this._isShown) {
      super.onUpdateRequest(message);
    }
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._watching?.dispose();
    this._watching = null;
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._watching ??= this._watch.watch(true);
    }
  }

  private _watching: IDisposable | null = null;
  private _isShown = false;
}
