import { type ISignal, Signal } from '@lumino/signaling';

import type { Conversation } from '../conversation';
import { Chat } from './chat';
import type { IRecord } from './record';

/** The conversations of the user, one of which is shown. An answer goes on while another is shown. */
export class Chats {
  constructor(private readonly _create: () => Conversation) {
    this._current = this.added(new Chat(_create()));
  }

  /** The conversation that is shown. */
  get current(): Chat {
    return this._current;
  }

  /** The conversations with a question, those changed last first. */
  get all(): readonly Chat[] {
    return [...this._chats].filter(chat => !chat.isEmpty).sort((a, b) => b.changed - a.changed);
  }

  /** The conversation that was deleted last, if it can be restored. */
  get removed(): Chat | null {
    return this._removed;
  }

  /** The conversation that was changed last besides the one that is shown. */
  get last(): Chat | undefined {
    return this.all.find(chat => chat !== this._current);
  }

  /** Emitted when the shown conversation, the list or a name has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted with a conversation whose saved form has changed. */
  get edited(): ISignal<this, Chat> {
    return this._edited;
  }

  /** Emitted with a conversation that the user has deleted. */
  get deleted(): ISignal<this, Chat> {
    return this._deleted;
  }

  /** Return the conversations that contain all words of a text, in their names or their texts. */
  find(text: string): readonly Chat[] {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return this.all.filter(chat => chat.matches(words));
  }

  /** Return the conversation with an id. */
  get(id: string): Chat | undefined {
    return [...this._chats].find(chat => chat.id === id);
  }

  /** Show a conversation. */
  open(chat: Chat): void {
    if (this._current !== chat) {
      const before = this._current;
      this._current = chat;
      if (before.isEmpty) {
        this.forget(before);
      }
      this._changed.emit();
    }
  }

  /** Show a new conversation with the same model. */
  start(): void {
    if (!this._current.isEmpty) {
      const chat = this.added(new Chat(this._create()));
      chat.model = this._current.model;
      this.open(chat);
    }
  }

  /** Give a conversation a name; an empty one stands for the beginning of its first question. */
  rename(chat: Chat, name: string): void {
    chat.givenName = name;
    this.edit(chat);
  }

  /** Choose the model of a conversation's next answers. */
  choose(chat: Chat, model: string): void {
    chat.model = model;
    this.edit(chat);
  }

  /** Delete a conversation. The last one that was deleted can be restored. */
  remove(chat: Chat): void {
    if (this._current === chat) {
      this.start();
    }
    chat.conversation.stop();
    this.forget(chat);
    this._removed = chat;
    this._deleted.emit(chat);
    this._changed.emit();
  }

  /** Restore the conversation that was deleted last. */
  restore(): void {
    if (this._removed) {
      const chat = this.added(this._removed);
      this._removed = null;
      chat.revision = 0;
      this._edited.emit(chat);
      this._changed.emit();
    }
  }

  /** Take over the conversations that the server has. What this page has changed stays. */
  merge(records: readonly IRecord[]): void {
    for (const record of records) {
      const chat = this.get(record.id);
      if (!chat && this._removed?.id !== record.id) {
        this.added(new Chat(this._create(), record));
      } else if (chat && record.revision > chat.revision && !isBusy(chat)) {
        this.quietly(() => chat.take(record));
      }
    }
    const ids = new Set(records.map(record => record.id));
    for (const chat of [...this._chats]) {
      const isGone = chat.revision > 0 && !ids.has(chat.id);
      if (isGone && !isBusy(chat) && chat !== this._current) {
        this.forget(chat);
      }
    }
    this._changed.emit();
  }

  /** Stop all answers. */
  stop(): void {
    this._chats.forEach(chat => chat.conversation.stop());
  }

  private edit(chat: Chat): void {
    chat.changed = Date.now();
    if (!chat.isEmpty) {
      this._edited.emit(chat);
    }
    this._changed.emit();
  }

  private added(chat: Chat): Chat {
    this._chats.add(chat);
    let { turns, settings } = chat.conversation;
    const onChanged = ({ turns: now, settings: set }: Conversation) => {
      const isEdited = (now !== turns || set !== settings) && !this._isQuiet;
      [turns, settings] = [now, set];
      if (isEdited) {
        this.edit(chat);
      } else if (chat === this._current) {
        this._changed.emit();
      }
    };
    chat.conversation.changed.connect(onChanged);
    this._forgetting.set(chat, () => chat.conversation.changed.disconnect(onChanged));
    return chat;
  }

  private forget(chat: Chat): void {
    this._chats.delete(chat);
    this._forgetting.get(chat)?.();
  }

  private quietly(change: () => void): void {
    this._isQuiet = true;
    change();
    this._isQuiet = false;
  }

  private readonly _chats = new Set<Chat>();
  private readonly _forgetting = new WeakMap<Chat, () => void>();
  private readonly _changed = new Signal<this, void>(this);
  private readonly _edited = new Signal<this, Chat>(this);
  private readonly _deleted = new Signal<this, Chat>(this);
  private _current: Chat;
  private _removed: Chat | null = null;
  private _isQuiet = false;
}

function isBusy(chat: Chat): boolean {
  return chat.isDirty || chat.conversation.isRunning;
}
