import { type ISignal, Signal } from '@lumino/signaling';

import type { ChatEvent, ChatMessage, OllamaApi, ToolCall } from '../api';
import type { IProgress } from './progress';

/** Something that goes with a question: text, or an image in base64. */
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

/** Milliseconds between two repaints of an answer that grows. */
const PACE = 80;

/** Return a question as the model reads it: what is attached first, in fences. */
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

/** A conversation with a model. Thoughts are shown and never sent back. */
export class Conversation {
  constructor(private readonly _api: Pick<OllamaApi, 'chat'>) {}

  /** The questions and answers. */
  get turns(): readonly ITurn[] {
    return this._turns;
  }

  /** What happens until the first text comes. */
  get progress(): IProgress | null {
    return this._progress;
  }

  /** Whether an answer is being written. */
  get isRunning(): boolean {
    return !!this._running;
  }

  /** Emitted when anything of it has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Ask, and write down the answer as it comes. */
  ask(model: string, content: string, attachments: readonly IAttachment[] = []): Promise<void> {
    this.stop();
    this._turns = [...this._turns, { role: 'user', content, attachments }];
    return this.answer(model);
  }

  /** Have the last question answered once more. */
  regenerate(model: string): Promise<void> {
    this.stop();
    const last = this._turns.map(turn => turn.role).lastIndexOf('user');
    this._turns = this._turns.slice(0, last + 1);
    return this._turns.length ? this.answer(model) : Promise.resolve();
  }

  /** Put another question in the place of one, and forget what came after it. */
  edit(model: string, index: number, content: string): Promise<void> {
    this.stop();
    const { attachments } = this._turns[index];
    this._turns = this._turns.slice(0, index);
    return this.ask(model, content, attachments);
  }

  /** End the answer; what has come of it stays. */
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

  /** Whether there was a conversation before this one. */
  get hasLast(): boolean {
    return this._last.length > 0;
  }

  /** Begin anew, or with what was said before. */
  reset(turns: readonly ITurn[] = []): void {
    this.stop();
    this._last = this._turns;
    this._turns = turns;
    this._progress = null;
    this._changed.emit();
  }

  /** Go on with the conversation before this one. */
  bringBack(): void {
    this.reset(this._last);
  }

  private async answer(model: string): Promise<void> {
    const controller = new AbortController();
    const messages = this._turns
      .filter(turn => turn.role === 'user' || turn.content || turn.toolCalls)
      .map(messageOf);
    const at = this._turns.length;
    this._running = controller;
    this._turns = [...this._turns, { role: 'assistant', content: '', model }];
    this._changed.emit();
    const become = (change: Partial<ITurn>) => {
      if (this._running === controller) {
        this._turns = this._turns.map((turn, i) => (i === at ? { ...turn, ...change } : turn));
      }
    };
    try {
      for await (const event of this._api.chat({ model, messages }, controller.signal)) {
        if (this._running !== controller) {
          return;
        }
        become(this.advance(this._turns[at], event));
        this.repaint();
      }
    } catch (error) {
      become({ error: (error as Error).message });
    }
    if (this._running === controller) {
      this._running = null;
      this._progress = null;
      this._changed.emit();
    }
  }

  private advance(turn: ITurn, event: ChatEvent): Partial<ITurn> {
    this._progress = event.status ? { status: event.status, position: event.position } : null;
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
  private _running: AbortController | null = null;
  private _timer: ReturnType<typeof setTimeout> | null = null;
}
