import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { type LabIcon, UseSignal } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { type ISignal, Signal } from '@lumino/signaling';

import type { IOllamaClient } from '../client';
import { chatIcon } from '../icon';
import { Panel } from '../panel';
import type { Conversation, IAttachment } from './conversation';
import { Header } from './header';
import { Input } from './input';
import type { ICodeAction } from './markdown';
import { Turns } from './turns';
import { Welcome } from './welcome';

/** A way to attach something, offered as a button. */
export interface IAttachAction {
  readonly label: string;
  /** Return what is attached, or why nothing is. */
  readonly attach: () => Promise<readonly IAttachment[] | string>;
}

/** A thing to do with the whole conversation. */
export interface IChatAction {
  readonly icon: LabIcon;
  readonly label: string;
  readonly run: () => unknown;
}

export interface IChatProps {
  client: IOllamaClient;
  conversation: Conversation;
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
  codeActions: readonly ICodeAction[];
  attachActions: readonly IAttachAction[];
  chatActions: readonly IChatAction[];
  /** Show the panel of models; undefined where there is none. */
  openModels: () => (() => unknown) | undefined;
}

/** A conversation beside the notebook. */
export class ChatPanel extends Panel {
  constructor(private readonly _props: IChatProps) {
    const { trans, client } = _props;
    super('jupyter-ollama-chat', trans.__('Chat'), chatIcon, client.watch);
    this.addClass('jpo-chat');
    void client.mayRun.then(may => {
      this.mayRun = may;
      this._edited.emit();
    });
  }

  /** What is typed and not sent yet. */
  draft = '';
  /** What goes with the next question. */
  attachments: readonly IAttachment[] = [];
  /** What the last click did, where it cannot be seen. */
  notice = '';
  /** Whether the user may have models work. */
  mayRun = true;

  /** The model that answers. */
  get model(): string {
    return this._model || (this._props.client.defaultModel() ?? '');
  }

  /** Have another model answer from now on. */
  choose(model: string): void {
    this._model = model;
    this._edited.emit();
  }

  /** Emitted when the draft, the model, the attachments or the notice have changed. */
  get edited(): ISignal<this, void> {
    return this._edited;
  }

  /** Whether a question can be sent. */
  get canAsk(): boolean {
    return !!this.model && this.mayRun;
  }

  /** Change what is about to be sent. */
  edit(change: Partial<Pick<ChatPanel, 'draft' | 'attachments' | 'notice'>>): void {
    Object.assign(this, { notice: '' }, change);
    this._edited.emit();
  }

  /** Ask something, as if it were typed. */
  async ask(text: string, attachments: readonly IAttachment[]): Promise<void> {
    const { client, conversation, trans } = this._props;
    if (!this.model) {
      await client.watch.refresh();
    }
    if (this.canAsk) {
      await conversation.ask(this.model, text, attachments);
    } else {
      this.edit({ draft: text, attachments, notice: trans.__('There is no model to ask.') });
    }
  }

  override dispose(): void {
    this._props.conversation.stop();
    Signal.clearData(this);
    super.dispose();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.node.querySelector<HTMLElement>('.jpo-input textarea')?.focus();
  }

  protected override render(): React.ReactElement {
    const { client, conversation, trans } = this._props;
    const turns = () =>
      conversation.turns.length ? (
        <Turns {...this._props} model={() => this.model} />
      ) : (
        <Welcome panel={this} {...this._props} />
      );
    return (
      <UseSignal signal={client.watch.changed}>
        {() => (
          <UseSignal signal={this._edited}>
            {() => (
              <UseSignal signal={conversation.changed}>
                {() => (
                  <>
                    <Header panel={this} {...this._props} />
                    {turns()}
                    <p className="jpo-detail jpo-notice" role="status">
                      {this.notice || (this.mayRun ? '' : trans.__('You may not run models here.'))}
                    </p>
                    <Input panel={this} {...this._props} />
                  </>
                )}
              </UseSignal>
            )}
          </UseSignal>
        )}
      </UseSignal>
    );
  }

  private readonly _edited = new Signal<this, void>(this);
  private _model = '';
}
