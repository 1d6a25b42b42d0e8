import type { ChatEvent, ChatMessage } from '../api';

/** What a model may do: answer, propose changes of cells, or work by all tools. */
export type Mode = 'ask' | 'edit' | 'agent';

/** Return whether a value is a mode. */
export function isMode(value: unknown): value is Mode {
  return value === 'ask' || value === 'edit' || value === 'agent';
}

/** The state of a call of a tool. `asks` waits for the user. */
export type StepState = 'runs' | 'asks' | 'done' | 'refused' | 'failed';

/** A question whether code may run, or an outside tool may be called. */
export interface IQuestion {
  readonly kind: 'run' | 'call';
  /** The exact text that an approval is bound to. */
  readonly text: string;
}

/** The user's answer to a question. */
export type Approval = 'once' | 'always' | 'never';

/** A call of a tool. */
export interface IStep {
  readonly id: number;
  /** The answer of the model that made the call, from 0. */
  readonly round: number;
  readonly callId?: string;
  readonly tool: string;
  /** How a person reads the tool, where its name is made for models. */
  readonly label?: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly state: StepState;
  /** The position of its cell in the notebook, from 1, at the time of the call. */
  readonly position?: number;
  readonly question?: IQuestion;
  /** The text that the model reads. */
  readonly result?: string;
}

/** The bounds of a work. */
export interface IBounds {
  readonly steps: number;
  readonly tokens: number;
  readonly minutes: number;
}

/** What a work has used. */
export interface IUse {
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
}

/** Why a work has ended. */
export type End = 'done' | 'steps' | 'tokens' | 'minutes' | 'closed' | 'stopped' | 'failed';

/** The steps of a model between a question and its answer. */
export interface IWork {
  readonly id: string;
  readonly mode: Mode;
  /** The path of the notebook. */
  readonly notebook: string;
  /** The text before the calls of each round. */
  readonly said: readonly string[];
  readonly steps: readonly IStep[];
  readonly bounds: IBounds;
  readonly use: IUse;
  /** Why tools of MCP servers are missing. */
  readonly problems?: readonly string[];
  /** Whether the context was too short for the whole conversation. */
  readonly isTruncated?: boolean;
  readonly end?: End;
}

/** A part of an answer, or the state of the work. */
export type WorkEvent = ChatEvent & { readonly work?: IWork };

/** Return the messages of a work without its last answer. Each call has a result. */
export function messagesOf(work: IWork): ChatMessage[] {
  return work.said.flatMap((content, round) => {
    const steps = work.steps.filter(step => step.round === round);
    const calls = steps.map(step => ({
      ...(step.callId ? { id: step.callId } : {}),
      function: { name: step.tool, arguments: step.arguments as Record<string, never> }
    }));
    return [
      { role: 'assistant', content, ...(calls.length ? { tool_calls: calls } : {}) } as ChatMessage,
      ...steps.map(step => resultOf(step, step.result ?? 'The user stopped this call.'))
    ];
  });
}

/** Return the message with the result of a call. */
export function resultOf(
  step: Pick<IStep, 'tool' | 'callId'>,
  content: string,
  images: readonly string[] = []
): ChatMessage {
  return {
    role: 'tool',
    tool_name: step.tool,
    ...(step.callId ? { tool_call_id: step.callId } : {}),
    content,
    ...(images.length ? { images: [...images] } : {})
  };
}
