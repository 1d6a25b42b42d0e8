import type { IAttachment } from '../chat/conversation';
import type { Found, MentionSource } from './source';
import { mentionOf, typedWord, wordsOf } from './words';

/** The draft of a question that mentions are attached to. */
export interface IMentionedDraft {
  readonly draft: string;
  readonly attachments: readonly IAttachment[];
  edit(change: { draft?: string; attachments?: readonly IAttachment[]; notice?: string }): void;
}

/** Attaches what the `@` words of a draft name, so that it can be looked at before it is sent. */
export class DraftMentions {
  constructor(
    private readonly _draft: IMentionedDraft,
    private readonly _source: MentionSource
  ) {
    _source.changed.connect(this._renew, this);
  }

  dispose(): void {
    this._source.changed.disconnect(this._renew, this);
  }

  /** Attach what a word names. Return why there is nothing, "" if there is. */
  async attach(word: string): Promise<string> {
    const mention = mentionOf(word, this._source.list());
    if (mention && this._has(mention.word)) {
      return '';
    }
    const found = await this._source.find(word);
    if (typeof found === 'string') {
      this._failed.add(word);
      return found;
    }
    if (!found.some(one => this._has(one.mention ?? ''))) {
      this._draft.edit({ attachments: [...this._draft.attachments, ...found] });
    }
    return '';
  }

  /** Do not attach a word again, because the user has removed what it names. */
  remove(attachment: IAttachment): void {
    if (attachment.mention) {
      this._removed.add(attachment.mention);
    }
    const attachments = this._draft.attachments.filter(one => one !== attachment);
    this._draft.edit({ attachments });
  }

  /** Return the words of a text that name something and are not attached yet. */
  missing(text: string, cursor = -1): string[] {
    if (!text.trim()) {
      this._removed.clear();
      this._failed.clear();
      return [];
    }
    const mentions = this._source.list();
    const unfinished = cursor < 0 ? undefined : typedWord(text, cursor)?.typed;
    return wordsOf(text).filter(word => {
      const mention = word !== unfinished && mentionOf(word, mentions);
      return (
        mention &&
        !this._failed.has(word) &&
        !this._removed.has(mention.word) &&
        !this._has(mention.word)
      );
    });
  }

  /** Attach all words of the draft. Return why a word could not be attached, "" if all could. */
  async complete(): Promise<string> {
    const { draft } = this._draft;
    const reasons: string[] = [];
    for (const word of this.missing(draft)) {
      const reason = await this.attach(word);
      if (reason) {
        reasons.push(reason);
      }
    }
    return reasons.join(' ');
  }

  private _has(word: string): boolean {
    return this._draft.attachments.some(one => one.mention === word);
  }

  /** Renew what is attached after cells have run. */
  private async _renew(): Promise<void> {
    const words = new Set(this._draft.attachments.flatMap(one => one.mention ?? []));
    for (const word of words) {
      const found: Found = await this._source.find(word);
      if (typeof found !== 'string') {
        this._replace(word, found);
      }
    }
  }

  private _replace(word: string, found: readonly IAttachment[]): void {
    const { attachments } = this._draft;
    const old = attachments.filter(one => one.mention === word);
    const isSame =
      old.length === found.length && old.every((one, at) => one.content === found[at].content);
    const at = attachments.findIndex(one => one.mention === word);
    if (at >= 0 && !isSame) {
      const others = attachments.filter(one => one.mention !== word);
      this._draft.edit({ attachments: [...others.slice(0, at), ...found, ...others.slice(at)] });
    }
  }

  private readonly _failed = new Set<string>();
  private readonly _removed = new Set<string>();
}
