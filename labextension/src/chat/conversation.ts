import { type ISignal, Signal } from '@lumino/signaling';

import type { ChatEvent, ChatMessage, OllamaApi, ToolCall } from '../api';
import { type IProgress, progressOf } from './progress';

/** An attachment of a question: text, or an image in base64. */
export interface IAttachment {
  readonly kind: 'text' | 'image';
  readonly name: string;
  readonly content: string;
  readonly language?: string;
}

/** A question or an answer. */
export interface ITurn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly thinking?: string;
  readonly toolCalls?: readonly ToolCall[];
  readonly attachments?: readonly IAttachment[];
  readonly model?: string;
  readonly error?: string;
  readonly stopped?: boolean;
}

/** Milliseconds between two renderings of a growing answer. */
const PACE = 80;

/** Return the message of a question: first the attached texts in fences, then the question. */
export function messageOf(turn: ITurn): ChatMessage {
  const { role, content, attachments = [] } = turn;
  const texts = attachments
    .filter(one => one.kind === 'text')
    .map(one => `${one.name}:\n${fenced(one.content, one.language)}`);
  const images = attachments.filter(one => one.kind === 'image').map(one => one.content);
  return {
    role,
    content: [...texts, content].filter(part => part).join('\n\n'),
    ...(images.length ? { images } : {}),
    ...(turn.toolCalls?.length ? { tool_calls: [...turn.toolCalls] } : {})
  };
}

/** Put a fence around a text, longer than any in it. */
export function fenced(text: string, language = ''): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(found => found[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

/** A conversation with a model. Thinking is shown but not sent back. */
export class Conversation {
  constructor(private readonly _api: Pick<OllamaApi, 'chat'>) {}

  /** The questions and answers. */
  get turns(): readonly ITurn[] {
    return this._turns;
  }

  /** The progress until the first text. */
  get progress(): IProgress | null {
    return this._progress;
  }

  /** The time of the last request, in milliseconds of `performance.now`. */
  get since(): number {
    return this._since;
  }

  /** Whether an answer is being generated. */
  get isRunning(): boolean {
    return !!this._running;
  }

  /** Emitted when the conversation has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Send a question and append its answer while it streams. */
  ask(model: string, content: string, attachments: readonly IAttachment[] = []): Promise<void> {
    this.stop();
    this._turns = [...this._turns, { role: 'user', content, attachments }];
    return this.answer(model);
  }

  /** Regenerate the last answer. */
  regenerate(model: string): Promise<void> {
    this.stop();
    const last = this._turns.map(turn => turn.role).lastIndexOf('user');
    this._turns = this._turns.slice(0, last + 1);
    return this._turns.length ? this.answer(model) : Promise.resolve();
  }

  /** Replace a question and drop the turns after it. */
  edit(model: string, index: number, content: string): Promise<void> {
    this.stop();
    const { attachments } = this._turns[index];
    this._turns = this._turns.slice(0, index);
    return this.ask(model, content, attachments);
  }

  /** Stop the answer; its text so far stays. */
  stop(): void {
    if (this._running) {
      this._running.abort();
      this._running = null;
      this._progress = null;
      this._turns = this._turns.map((turn, at) =>
        at === this._turns.length - 1 ? { ...turn, stopped: true } : turn
      );
      this._changed.emit();
    }
  }

  /** Whether there is a previous conversation. */
  get hasLast(): boolean {
    return this._last.length > 0;
  }

  /** Start a new conversation, empty or with saved turns. */
  reset(turns: readonly ITurn[] = []): void {
    this.stop();
    this._last = this._turns;
    this._turns = turns;
    this._progress = null;
    this._changed.emit();
  }

  /** Restore the previous conversation. */
  restoreLast(): void {
    this.reset(this._last);
  }

  private async answer(model: string): Promise<void> {
    const controller = new AbortController();
    const messages = this._turns
      .filter(turn => turn.role === 'user' || turn.content || turn.toolCalls)
      .map(messageOf);
    const at = this._turns.length;
    this._running = controller;
    this._since = performance.now();
    this._turns = [...this._turns, { role: 'assistant', content: '', model }];
    this._changed.emit();
    const update = (change: Partial<ITurn>) => {
      if (this._running === controller) {
        this._turns = this._turns.map((turn, i) => (i === at ? { ...turn, ...change } : turn));
      }
    };
    try {
      for await (const event of this._api.chat({ model, messages }, controller.signal)) {
        if (this._running !== controller) {
          return;
        }
        update(this.advance(this._turns[at], event));
        this.repaint();
      }
    } catch (error) {
      update({ error: (error as Error).message });
    }
    if (this._running === controller) {
      this._running = null;
      this._progress = null;
      this._changed.emit();
    }
  }

  private advance(turn: ITurn, event: ChatEvent): Partial<ITurn> {
    this._progress = progressOf(event);
    const { content = '', thinking = '', tool_calls: calls = [] } = event.message ?? {};
    return {
      content: turn.content + content,
      ...(thinking ? { thinking: (turn.thinking ?? '') + thinking } : {}),
      ...(calls.length ? { toolCalls: [...(turn.toolCalls ?? []), ...calls] } : {})
    };
  }

  private repaint(): void {
    this._timer ??= setTimeout(() => {
      this._timer = null;
      this._changed.emit();
    }, PACE);
  }

  private readonly _changed = new Signal<this, void>(this);
  private _turns: readonly ITurn[] = [];
  private _last: readonly ITurn[] = [];
  private _progress: IProgress | null = null;
  private _since = 0;
  private _running: AbortController | null = null;
  private _timer: ReturnType<typeof setTimeout> | null = null;
}
