import type { ChatEvent, ChatMessage, ChatRequest, OllamaApi, ToolCall } from '../api';
import { Budget } from './budget';
import type { IDesk } from './desk';
import type { Journal } from './journal';
import type { Toolbox } from './toolbox';
import type { IResult } from './tools/tool';
import {
  type Approval,
  type End,
  type IBounds,
  type IStep,
  type IWork,
  type Mode,
  resultOf,
  type WorkEvent
} from './work';

/** What a work needs. */
export interface ITask {
  readonly api: Pick<OllamaApi, 'chat'>;
  readonly id: string;
  readonly mode: Mode;
  /** The name of the model, as the user reads it. */
  readonly author: string;
  readonly desk: IDesk;
  readonly journal: Journal;
  readonly toolbox: Toolbox;
  /** Why tools are missing. */
  readonly problems?: readonly string[];
  readonly bounds: IBounds;
  readonly seesImages: boolean;
  /** Ask the user about a step; rejects when the signal is aborted. */
  readonly ask: (step: number, signal: AbortSignal) => Promise<Approval>;
}

const NO_MORE = 'The budget of this work is used up. The call was not made.';

/**
 * Let a model call tools until it answers without a call, or a budget ends.
 *
 * Only `tool_calls` of the model's messages are calls; texts of cells, outputs and files are
 * results of tools and nothing else.
 */
export class WorkLoop {
  constructor(
    private readonly _task: ITask,
    private readonly _emit: (event: WorkEvent) => void,
    stop: AbortSignal
  ) {
    const { id, mode, desk, bounds, problems } = _task;
    this._budget = new Budget(bounds, stop);
    const use = this._budget.use;
    this._work = {
      id,
      mode,
      notebook: desk.path,
      said: [],
      steps: [],
      bounds,
      use,
      ...(problems?.length ? { problems } : {})
    };
  }

  /** Work on a request until the end. An error of the server is raised. */
  async run(request: ChatRequest): Promise<void> {
    this.change({});
    try {
      this.change({ end: await this.rounds(request) });
    } catch (error) {
      const reason = this._budget.signal.aborted ? this._budget.over : undefined;
      this.change({ end: reason ?? 'failed' });
      if (!reason) {
        throw error;
      }
    } finally {
      this._budget.close();
    }
  }

  private async rounds(request: ChatRequest): Promise<End> {
    const { toolbox } = this._task;
    const messages = [...request.messages];
    for (;;) {
      const limit = Math.max(1, this._budget.tokensLeft);
      const wanted = (request.options as { num_predict?: number } | undefined)?.num_predict ?? -1;
      const answer = await this.answer({
        ...request,
        messages,
        tools: toolbox.definitions,
        options: { ...request.options, num_predict: wanted > 0 ? Math.min(wanted, limit) : limit }
      });
      if (!answer.tool_calls?.length) {
        return this._isCut && this._budget.over === 'tokens' ? 'tokens' : 'done';
      }
      messages.push(answer);
      this.change({ said: [...this._work.said, answer.content] });
      for (const call of answer.tool_calls) {
        messages.push(await this.call(call));
      }
      const over = this._task.desk.isOpen ? this._budget.over : 'closed';
      if (over) {
        return over;
      }
    }
  }

  /** Pass on an answer while it arrives, and return it as a message. */
  private async answer(request: ChatRequest): Promise<ChatMessage> {
    const parts = { content: '', thinking: '' };
    const calls: ToolCall[] = [];
    let isComplete = false;
    for await (const event of this._task.api.chat(request, this._budget.signal)) {
      const { content = '', thinking = '', tool_calls: found = [] } = event.message ?? {};
      parts.content += content;
      parts.thinking += thinking;
      calls.push(...found);
      isComplete ||= !!event.done;
      this.count(event);
      this._emit(withoutCalls(event));
    }
    this._budget.signal.throwIfAborted();
    if (!isComplete) {
      throw new Error('The connection was lost before the answer was complete.');
    }
    return {
      role: 'assistant',
      content: parts.content,
      ...(parts.thinking ? { thinking: parts.thinking } : {}),
      ...(calls.length ? { tool_calls: calls } : {})
    };
  }

  /** Count the tokens that the model has read anew or written. */
  private count(event: ChatEvent): void {
    const read = (event.prompt_eval_count ?? 0) - (event.prompt_eval_cached_count ?? 0);
    this._budget.countTokens(read + (event.eval_count ?? 0));
    this._isCut = event.done_reason === 'length';
    if (event.truncated) {
      this.change({ isTruncated: true });
    }
  }

  /** Make one call and return the message with its result. */
  private async call({ id: callId, function: { name, arguments: args } }: ToolCall) {
    const step: IStep = {
      id: this._work.steps.length,
      round: this._work.said.length - 1,
      ...(callId ? { callId } : {}),
      tool: name,
      arguments: args ?? {},
      state: 'runs'
    };
    const isOver = this._budget.over !== undefined;
    if (!isOver) {
      this._budget.countStep();
    }
    this.change({ steps: [...this._work.steps, step] });
    const show = (change: Partial<IStep>) => this.showStep(step.id, change);
    const result: IResult = isOver
      ? { text: NO_MORE, state: 'failed' }
      : await this.result(step, show);
    const images = this._task.seesImages ? result.images : undefined;
    show({ state: result.state ?? 'done', result: result.text, question: undefined });
    return resultOf(step, result.text, images);
  }

  private async result(step: IStep, show: (change: Partial<IStep>) => void): Promise<IResult> {
    const { author, desk, journal, toolbox, seesImages, ask } = this._task;
    if (!desk.isOpen) {
      return { text: 'The user has closed the notebook.', state: 'failed' };
    }
    const budget = this._budget;
    const { signal } = budget;
    const result = await toolbox.call(step.tool, step.arguments, {
      desk,
      journal,
      author,
      signal,
      seesImages,
      show,
      // A withdrawn proposal resolves, with the parts that were accepted before.
      decided: decision => budget.pausedFor(decision),
      ask: question => {
        show({ state: 'asks', question });
        return budget.pausedFor(ask(step.id, signal));
      }
    });
    signal.throwIfAborted();
    return result;
  }

  private showStep(id: number, change: Partial<IStep>): void {
    const steps = this._work.steps.map(step => (step.id === id ? { ...step, ...change } : step));
    this.change({ steps });
  }

  private change(change: Partial<IWork>): void {
    this._work = { ...this._work, ...change, use: this._budget.use };
    this._emit({ work: this._work });
  }

  private readonly _budget: Budget;
  private _work: IWork;
  private _isCut = false;
}

/** Return an event without calls: the steps of the work show them. */
function withoutCalls(event: ChatEvent): ChatEvent {
  return event.message ? { ...event, message: { ...event.message, tool_calls: [] } } : event;
}
