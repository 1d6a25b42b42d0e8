import { type ISignal, Signal } from '@lumino/signaling';

import type { Agent } from '../agent/agent';
import { type IWork, messagesOf as workMessages, type Mode, type WorkEvent } from '../agent/work';
import type { ChatMessage, ChatRequest, OllamaApi, ToolCall } from '../api';
import { type IProgress, progressOf } from './progress';
import { type IChatSettings, optionsOf } from './settings';
import { type IUsage, usageOf } from './usage';

/** The place from which an attachment was taken: a file, a cell of a notebook, or a web page. */
export interface ISource {
  readonly path?: string;
  /** The id of the cell in the notebook at the path. */
  readonly cell?: string;
  readonly url?: string;
}

/** An attachment of a question: text, or an image in base64. */
export interface IAttachment {
  readonly kind: 'text' | 'image';
  readonly name: string;
  readonly content: string;
  readonly language?: string;
  readonly source?: ISource;
  /** Whether the content was too large to be saved, and is lost. */
  readonly isLeftOut?: boolean;
  /** The `@` word that it was found by, without the `@`. */
  readonly mention?: string;
}

/** A question or an answer. */
export interface ITurn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly thinking?: string;
  readonly toolCalls?: readonly ToolCall[];
  readonly attachments?: readonly IAttachment[];
  readonly model?: string;
  /** The steps before the answer, where the model worked in a notebook. */
  readonly work?: IWork;
  readonly error?: string;
  readonly stopped?: boolean;
  /** Whether the connection ended before the answer did. */
  readonly isCutOff?: boolean;
  /** The counts and times of a complete answer. */
  readonly usage?: IUsage;
}

/** Milliseconds between two renderings of a growing answer. */
const PACE = 80;

/** Return the message of a question: first the attached texts in fences, then the question. */
export function messageOf(turn: ITurn): ChatMessage {
  const { role, content } = turn;
  const attachments = (turn.attachments ?? []).filter(one => !one.isLeftOut);
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

/** Return the messages of a turn: those of the steps of an answer come before its text. */
export function messagesOf(turn: ITurn): ChatMessage[] {
  const before = turn.work ? workMessages(turn.work) : [];
  const isEmpty = turn.role === 'assistant' && !turn.content && !turn.toolCalls;
  return isEmpty ? before : [...before, messageOf(turn)];
}

/** Put a fence around a text, longer than any in it. */
export function fenced(text: string, language = ''): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(found => found[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

/** A conversation with a model. Thinking is shown but not sent back. */
export class Conversation {
  constructor(
    private readonly _api: Pick<OllamaApi, 'chat'>,
    private readonly _agent: Pick<Agent, 'chat'> | null = null
  ) {}

  /** What the model may do in the next answers. */
  get mode(): Mode {
    return this._settings.mode ?? 'ask';
  }

  set mode(mode: Mode) {
    this.configure({ ...this._settings, mode });
  }

  /** How the model answers. */
  get settings(): IChatSettings {
    return this._settings;
  }

  /** Change how the model answers, from the next question on. */
  configure(settings: IChatSettings): void {
    this._settings = settings;
    this._changed.emit();
  }

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

  /** Replace the questions and answers, as by saved ones. */
  reset(turns: readonly ITurn[] = []): void {
    this.stop();
    this._turns = turns;
    this._progress = null;
    this._changed.emit();
  }

  private async answer(model: string): Promise<void> {
    const controller = new AbortController();
    const { system } = this._settings;
    const messages = this._turns.flatMap(messagesOf);
    if (system) {
      messages.unshift({ role: 'system', content: system });
    }
    const request = { model, messages, ...optionsOf(this._settings) };
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
    let firstAfter: number | undefined;
    let isComplete = false;
    try {
      for await (const event of this.events(request, controller.signal)) {
        if (this._running !== controller) {
          return;
        }
        if (event.message?.content || event.message?.thinking) {
          firstAfter ??= (performance.now() - this._since) / 1000;
        }
        update(this.advance(this._turns[at], event));
        isComplete ||= !!event.work?.end;
        if (event.done) {
          isComplete = true;
          update({ usage: usageOf(event, firstAfter) });
        }
        this.repaint();
      }
      update(isComplete ? {} : { isCutOff: true });
    } catch (error) {
      // The browser reports a lost connection as a TypeError, with a text of its own.
      update(error instanceof TypeError ? { isCutOff: true } : { error: (error as Error).message });
    }
    if (this._running === controller) {
      this._running = null;
      this._progress = null;
      this._changed.emit();
    }
  }

  private events(request: ChatRequest, signal: AbortSignal): AsyncGenerator<WorkEvent> {
    return this._agent && this.mode !== 'ask'
      ? this._agent.chat(this.mode, request, signal)
      : this._api.chat(request, signal);
  }

  private advance(turn: ITurn, event: WorkEvent): Partial<ITurn> {
    if (event.work) {
      const { work } = event;
      // The text before a call has become a part of the work.
      const isTaken = work.said.length > (turn.work?.said.length ?? 0);
      return { work, ...(isTaken ? { content: '' } : {}) };
    }
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
  private _settings: IChatSettings = {};
  private _progress: IProgress | null = null;
  private _since = 0;
  private _running: AbortController | null = null;
  private _timer: ReturnType<typeof setTimeout> | null = null;
}
