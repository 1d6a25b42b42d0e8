import { UUID } from '@lumino/coreutils';

import type { Conversation } from '../conversation';
import { cleanName, type IRecord, VERSION } from './record';

/** The characters of the first question that make a name. */
const NAME_LENGTH = 60;

/** A conversation with its name, its model and the state of its saved form. */
export class Chat {
  constructor(
    readonly conversation: Conversation,
    record?: IRecord
  ) {
    if (record) {
      this.take(record);
    }
  }

  id = UUID.uuid4();
  /** The revision that the server has; 0 if it has none. */
  revision = 0;
  /** The name that the user has given, or empty. */
  givenName = '';
  /** The model of the next answers, empty for the default. */
  model = '';
  /** The time of the last change, in milliseconds since 1970. */
  changed = Date.now();
  /** Whether the server lacks the last change. */
  isDirty = false;

  /** The name: the given one, else the beginning of the first question. */
  get name(): string {
    const first = this.conversation.turns.find(turn => turn.role === 'user')?.content ?? '';
    const line = cleanName(first);
    return this.givenName || (line.length > NAME_LENGTH ? shortened(line) : line);
  }

  /** Whether there is nothing to keep. */
  get isEmpty(): boolean {
    return this.conversation.turns.length === 0;
  }

  /** Return whether the name or a text contains all words, in any case. */
  matches(words: readonly string[]): boolean {
    const texts = [this.name, ...this.conversation.turns.map(turn => turn.content)];
    const text = texts.join('\n').toLowerCase();
    return words.every(word => text.includes(word));
  }

  /** The form to save. */
  get record(): IRecord {
    const { turns, settings, isRunning } = this.conversation;
    // Closing the page ends the answer.
    const saved = isRunning
      ? [...turns.slice(0, -1), { ...turns[turns.length - 1], stopped: true }]
      : turns;
    const { id, revision, givenName: name, model, changed } = this;
    return { version: VERSION, id, revision, name, model, changed, settings, turns: saved };
  }

  /** Take over a saved form. */
  take(record: IRecord): void {
    this.id = record.id;
    this.revision = record.revision;
    this.givenName = record.name;
    this.model = record.model;
    this.changed = record.changed;
    this.conversation.configure(record.settings);
    this.conversation.reset(record.turns);
  }

  /** Become a conversation of its own, which the server does not have. */
  separate(): void {
    this.id = UUID.uuid4();
    this.revision = 0;
  }
}

/** Cut a line at the end of a word. */
function shortened(line: string): string {
  const start = line.slice(0, NAME_LENGTH);
  return `${start.replace(/\s+\S*$/, '')}…`;
}
