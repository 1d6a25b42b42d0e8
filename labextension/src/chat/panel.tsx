import { UseSignal } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { type ISignal, Signal } from '@lumino/signaling';

import { modelAtHand, sizeOf } from '../client';
import { DraftMentions } from '../context/draft';
import { chatIcon } from '../icon';
import { Panel } from '../panel';
import type { IAttachment } from './conversation';
import type { IRead } from './files';
import { Header } from './header';
import type { Chat } from './history/chat';
import { ChatList } from './history/list';
import { Input } from './input';
import type { IChatPanel, IChatProps, IDraft } from './props';
import { TitleRow } from './titleRow';
import { Turns } from './turns';
import { Welcome } from './welcome';

/** The conversations beside the notebook. */
export class ChatPanel extends Panel implements IChatPanel {
  constructor(private readonly _props: IChatProps) {
    const { trans, client } = _props;
    super('jupyter-ollama-chat', trans.__('Chat'), chatIcon, client.watch);
    this.mentions = new DraftMentions(this, _props.mentionSource);
    this.addClass('jpo-chat');
    void client.mayRun.then(may => {
      this.mayRun = may;
      this._edited.emit();
    });
    client.watch.changed.connect(this._onWatched, this);
    _props.agent?.changed.connect(() => this._edited.emit(), this);
  }

  /** Attaches what the draft refers to by `@` words. */
  readonly mentions: DraftMentions;
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
    return this._props.chats.current.model || (this._props.client.defaultModel() ?? '');
  }

  /** Select the model of the next answers in this conversation. */
  choose(model: string): void {
    const { chats } = this._props;
    chats.choose(chats.current, model);
  }

  /** Whether the list of conversations is shown instead of one. */
  get isListed(): boolean {
    return this._isListed;
  }

  /** Show the list of conversations, or the conversation. */
  showList(isListed: boolean): void {
    this._isListed = isListed;
    this.edit({});
    if (isListed) {
      this._listed.emit();
    } else {
      this._focus();
    }
  }

  /** Emitted when the panel or the list of conversations is shown. */
  get listed(): ISignal<this, void> {
    return this._listed;
  }

  /** Whether a question can be sent. */
  get canAsk(): boolean {
    return !!this.model && this.mayRun && !this.problem;
  }

  /** Why the model cannot work in the mode of the conversation; empty if it can. */
  get problem(): string {
    const { agent, chats } = this._props;
    return agent?.problem(chats.current.conversation.mode, this.model) ?? '';
  }

  /** Change the draft, its attachments or the notice. */
  edit(change: Partial<IDraft>): void {
    Object.assign(this, { notice: '' }, change);
    this._edited.emit();
  }

  /** Attach files that were read, and say what was not. */
  attach({ attachments, problems }: IRead): void {
    const { client, trans } = this._props;
    const isSeen = attachments.some(one => one.kind === 'image');
    const known = client.watch.state.models.find(one => one.name === this.model);
    const isBlind = isSeen && known?.capabilities && !known.capabilities.includes('vision');
    const blind = isBlind ? [trans.__('%1 does not see images.', this.model)] : [];
    this.edit({
      attachments: [...this.attachments, ...attachments],
      notice: [...problems, ...blind].join(' ')
    });
  }

  /** Send a question as if it were typed. */
  async ask(text: string, attachments: readonly IAttachment[]): Promise<void> {
    const { client, chats, trans, loaded } = this._props;
    await loaded();
    if (!this.model) {
      await client.watch.refresh();
    }
    this._isListed = false;
    if (this.canAsk) {
      await chats.current.conversation.ask(this.model, text, attachments);
    } else {
      const notice = this.problem || trans.__('There is no model to ask.');
      this.edit({ draft: text, attachments, notice });
    }
  }

  override dispose(): void {
    this._props.chats.stop();
    this.mentions.dispose();
    Signal.clearData(this);
    super.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._listed.emit();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._listed.emit();
    }
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this._focus();
  }

  /** Focus the question, once it is drawn. */
  private _focus(): void {
    const question = this.node.querySelector<HTMLElement>('.jpo-input textarea');
    this._wantsFocus = !question;
    question?.focus();
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
    const { client, chats } = this._props;
    return (
      <UseSignal signal={client.watch.changed}>
        {() => (
          <UseSignal signal={this._edited}>
            {() => <UseSignal signal={chats.changed}>{() => this.parts(chats.current)}</UseSignal>}
          </UseSignal>
        )}
      </UseSignal>
    );
  }

  private parts({ id, conversation }: Chat): React.ReactElement {
    const { client, trans } = this._props;
    const props = { ...this._props, panel: this, conversation };
    const notice = (
      <p className="jpo-detail jpo-notice" role="status">
        {this.notice || (this.mayRun ? '' : trans.__('You may not run models here.'))}
      </p>
    );
    if (this._isListed) {
      return (
        <>
          <Header {...props} />
          <ChatList {...props} />
          {notice}
        </>
      );
    }
    return (
      <>
        <Header {...props} />
        <TitleRow key={`title ${id}`} {...props} />
        {conversation.turns.length ? (
          <Turns
            key={id}
            {...props}
            model={() => this.model}
            sizeOf={model => sizeOf(client.watch.state, model)}
          />
        ) : (
          <Welcome {...props} />
        )}
        {notice}
        <Input {...props} />
        <span key="drawn" hidden ref={this._onDrawn} />
      </>
    );
  }

  /** Focus the question when it has replaced the list. */
  private readonly _onDrawn = (node: HTMLElement | null) => {
    if (node && this._wantsFocus) {
      this._focus();
    }
  };

  private readonly _edited = new Signal<this, void>(this);
  private readonly _listed = new Signal<this, void>(this);
  private _isListed = false;
  private _wantsFocus = false;
  private _lacksModel = false;
}
