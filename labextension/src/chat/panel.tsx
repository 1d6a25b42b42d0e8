import { UseSignal } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { type ISignal, Signal } from '@lumino/signaling';

import { modelAtHand, sizeOf } from '../client';
import { chatIcon } from '../icon';
import { Panel } from '../panel';
import type { IAttachment } from './conversation';
import { Header } from './header';
import { Input } from './input';
import type { IChatPanel, IChatProps, IDraft } from './props';
import { Turns } from './turns';
import { Welcome } from './welcome';

/** A conversation beside the notebook. */
export class ChatPanel extends Panel implements IChatPanel {
  constructor(private readonly _props: IChatProps) {
    const { trans, client } = _props;
    super('jupyter-ollama-chat', trans.__('Chat'), chatIcon, client.watch);
    this.addClass('jpo-chat');
    void client.mayRun.then(may => {
      this.mayRun = may;
      this._edited.emit();
    });
    client.watch.changed.connect(this._onWatched, this);
  }

  /** The text that is typed and not sent yet. */
  draft = '';
  /** The attachments of the next question. */
  attachments: readonly IAttachment[] = [];
  /** The result of the last action, if the panel does not show it elsewhere. */
  notice = '';
  /** Whether the user may run models. */
  mayRun = true;

  /** The model of the next answer. */
  get model(): string {
    return this._model || (this._props.client.defaultModel() ?? '');
  }

  /** Select the model of the next answers. */
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

  /** Change the draft, its attachments or the notice. */
  edit(change: Partial<IDraft>): void {
    Object.assign(this, { notice: '' }, change);
    this._edited.emit();
  }

  /** Send a question as if it were typed. */
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
    this._focus();
  }

  private _focus(): void {
    this.node.querySelector<HTMLElement>('.jpo-input textarea')?.focus();
  }

  /** Focus the question when the first model is installed, unless the user works elsewhere. */
  private _onWatched(): void {
    const { state } = this._props.client.watch;
    const hasModel = !!modelAtHand(state);
    const { activeElement, body } = document;
    const isFree = activeElement === body || this.node.contains(activeElement);
    if (this._lacksModel && hasModel && this.isVisible && isFree) {
      this._focus();
    }
    this._lacksModel = state.isListed && !hasModel;
  }

  protected override render(): React.ReactElement {
    const { client, conversation, trans } = this._props;
    const turns = () =>
      conversation.turns.length ? (
        <Turns
          {...this._props}
          model={() => this.model}
          sizeOf={model => sizeOf(client.watch.state, model)}
        />
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
  private _lacksModel = false;
}
