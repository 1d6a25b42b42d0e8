import type { ChatEvent, ChatMessage, ChatRequest, ToolCall } from '../src/api';
import type { IDesk } from '../src/agent/desk';
import { Journal } from '../src/agent/journal';
import { WorkLoop } from '../src/agent/loop';
import { Approvals, DEFAULT_POLICY, type IPolicy } from '../src/agent/policy';
import { toolsOf } from '../src/agent/toolbox';
import type { IForeignTool } from '../src/agent/tools/tool';
import type { Approval, IBounds, IQuestion, IWork, Mode } from '../src/agent/work';

/** A text, or calls of tools, each with its arguments. */
export type Answer = string | readonly (readonly [string, unknown])[];

interface ITaskOptions {
  readonly mode?: Mode;
  readonly policy?: Partial<IPolicy>;
  readonly bounds?: Partial<IBounds>;
  readonly approvals?: Approvals;
  readonly seesImages?: boolean;
  readonly foreign?: readonly IForeignTool[];
  readonly answer?: (question: IQuestion) => Approval | Promise<Approval>;
  readonly stop?: AbortSignal;
  /** The tokens of each answer. */
  readonly tokens?: number;
}

/** Let a model that gives some answers work on a notebook, and return what it did and got. */
export async function work(desk: IDesk, answers: readonly Answer[], options: ITaskOptions = {}) {
  const { mode = 'agent', answer = () => 'once', stop = new AbortController().signal } = options;
  const policy = { ...DEFAULT_POLICY, ...options.policy };
  const asked: IQuestion[] = [];
  const requests: ChatRequest[] = [];
  const shown: IWork[] = [];
  const texts: string[] = [];
  const journal = new Journal();
  let round = 0;
  async function* chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    requests.push(structuredClone(request));
    signal.throwIfAborted();
    const said = answers[round++] ?? 'Done.';
    const content = typeof said === 'string' ? said : '';
    const calls = typeof said === 'string' ? [] : said.map(callOf);
    yield { message: { role: 'assistant', content, tool_calls: calls } };
    yield { done: true, done_reason: 'stop', eval_count: options.tokens ?? 10 };
  }
  const contents = { get: () => Promise.reject(new Error('There are no files.')) };
  const loop = new WorkLoop(
    {
      api: { chat },
      id: 'w',
      mode,
      author: 'm',
      desk,
      journal,
      toolbox: toolsOf(
        mode,
        policy,
        options.approvals ?? new Approvals(),
        contents,
        options.foreign
      ),
      bounds: { steps: 1000, tokens: 1e6, minutes: 5, ...options.bounds },
      seesImages: options.seesImages ?? false,
      ask: async step => {
        const question = shown[shown.length - 1].steps[step].question as IQuestion;
        asked.push(question);
        return answer(question);
      }
    },
    event => {
      if (event.work) {
        shown.push(event.work);
      }
      texts.push(event.message?.content ?? '');
    },
    stop
  );
  await loop.run({ model: 'm', messages: [{ role: 'user', content: 'Do it.' }] });
  const last = shown[shown.length - 1];
  return { work: last, asked, requests, journal, shown, text: texts.join('') };
}

/** Return the results that the model has read. */
export function resultsIn(requests: readonly ChatRequest[]): string[] {
  const { messages } = requests[requests.length - 1];
  return messages.filter((one: ChatMessage) => one.role === 'tool').map(one => one.content);
}

function callOf([name, args]: readonly [string, unknown], index: number): ToolCall {
  return { id: `call_${index}`, function: { name, arguments: args as Record<string, never> } };
}
