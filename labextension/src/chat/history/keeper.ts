import { Throttler } from '@lumino/polling';

import type { OllamaApi } from '../../api';
import { OllamaError } from '../../ndjson';
import type { Chat } from './chat';
import type { Chats } from './chats';
import { readRecord, writeRecord } from './record';

/** Milliseconds between two savings of a growing answer. */
const PACE = 1000;

/** The parts of the API that keep conversations. */
export type IKept = Pick<OllamaApi, 'conversations' | 'saveConversation' | 'deleteConversation'>;

/** Events that the user should see. */
export interface IKeeperEvents {
  /** Another page has changed the conversation, which is now a copy. */
  readonly onCopied: (chat: Chat) => void;
  readonly onFailed: (error: Error) => void;
}

/** Reads the conversations from the server, and saves each one that changes. */
export class ChatKeeper {
  constructor(
    private readonly _chats: Chats,
    private readonly _api: IKept,
    private readonly _events: IKeeperEvents
  ) {
    _chats.edited.connect((_, chat) => {
      chat.isDirty = true;
      this._waiting.add(chat);
      void this._throttler.invoke();
    });
    _chats.deleted.connect((_, chat) => {
      this._waiting.delete(chat);
      chat.isDirty = false;
      void this.enqueue(() => this._api.deleteConversation(chat.id));
    });
  }

  /** Read the conversations of the server. Resolves when they are listed; an error is reported. */
  load(): Promise<void> {
    return this.enqueue(() => this.read());
  }

  /** Save what has changed. */
  save(): Promise<void> {
    return this.enqueue(async () => {
      const waiting = [...this._waiting];
      this._waiting.clear();
      const failures: unknown[] = [];
      for (const chat of waiting) {
        try {
          await this.write(chat);
        } catch (error) {
          // The next saving tries again, unless the user has deleted it meanwhile.
          if (this._chats.get(chat.id)) {
            this._waiting.add(chat);
          }
          failures.push(error);
        }
      }
      if (failures.length) {
        throw failures[0];
      }
    });
  }

  private async write(chat: Chat): Promise<void> {
    try {
      await this.put(chat);
    } catch (error) {
      if (!(error instanceof OllamaError && error.status === 409)) {
        throw error;
      }
      chat.separate();
      await this.put(chat);
      this._events.onCopied(chat);
      await this.read();
    }
  }

  private async read(): Promise<void> {
    const found = await this._api.conversations();
    this._chats.merge(found.flatMap(one => readRecord(one) ?? []));
  }

  private async put(chat: Chat): Promise<void> {
    const { record } = chat;
    const revision = record.revision + 1;
    await this._api.saveConversation(record.id, writeRecord({ ...record, revision }));
    chat.revision = revision;
    chat.isDirty = this._waiting.has(chat);
  }

  /** Run one request after the other, so that revisions follow each other. */
  private enqueue(task: () => Promise<void>): Promise<void> {
    this._last = this._last.then(task).then(
      () => {
        this._hasFailed = false;
      },
      (error: Error) => {
        // One message is enough for a server that is away.
        if (!this._hasFailed) {
          this._hasFailed = true;
          this._events.onFailed(error);
        }
      }
    );
    return this._last;
  }

  private readonly _waiting = new Set<Chat>();
  private readonly _throttler = new Throttler(() => this.save(), { limit: PACE, edge: 'trailing' });
  private _last: Promise<void> = Promise.resolve();
  private _hasFailed = false;
}
