import { type End, type IBounds, isMode, type IStep, type IUse, type IWork } from './work';

const STATES = ['runs', 'asks', 'done', 'refused', 'failed'] as const;
const ENDS = ['done', 'steps', 'tokens', 'minutes', 'closed', 'stopped', 'failed'] as const;
/** The longest result that is saved, in characters; the longest argument is as long. */
const LONGEST = 20_000;

type Values = Readonly<Record<string, unknown>>;

/** Read the steps of a saved answer. Undefined if they have another shape. */
export function readWork(value: unknown): IWork | undefined {
  if (!isObject(value) || !isMode(value.mode) || !Array.isArray(value.steps)) {
    return undefined;
  }
  const { id, mode, notebook, said, steps, bounds, use, end, isTruncated } = value;
  const texts = textsOf(said);
  const problems = textsOf(value.problems);
  return {
    id: text(id),
    mode,
    notebook: text(notebook),
    said: texts,
    steps: steps.flatMap((step, at) => readStep(step, at, texts.length) ?? []),
    bounds: numbers<IBounds>(bounds, ['steps', 'tokens', 'minutes']),
    use: numbers<IUse>(use, ['steps', 'tokens', 'seconds']),
    ...(problems.length ? { problems } : {}),
    ...(isTruncated === true ? { isTruncated } : {}),
    // A work without an end was under way when its page was closed.
    end: isOneOf<End>(end, ENDS) ? end : 'stopped'
  };
}

/** Return a work as it is saved: questions are left out, which a later page cannot answer. */
export function savedWork(work: IWork): IWork {
  const steps = work.steps.map(step => ({
    ...step,
    question: undefined,
    ...(step.result === undefined ? {} : { result: step.result.slice(0, LONGEST) })
  }));
  return { ...work, steps };
}

function readStep(value: unknown, id: number, rounds: number): IStep | undefined {
  if (!isObject(value) || typeof value.tool !== 'string') {
    return undefined;
  }
  const { round, callId, tool, label, state, position, result } = value;
  if (typeof round !== 'number' || !(round >= 0 && round < rounds)) {
    return undefined;
  }
  return {
    id,
    round,
    tool,
    arguments: isObject(value.arguments) ? value.arguments : {},
    state: isOneOf(state, STATES) && state !== 'runs' && state !== 'asks' ? state : 'failed',
    ...(typeof callId === 'string' ? { callId } : {}),
    ...(typeof label === 'string' ? { label } : {}),
    ...(typeof position === 'number' ? { position } : {}),
    ...(typeof result === 'string' ? { result } : {})
  };
}

function numbers<T>(value: unknown, names: readonly (keyof T & string)[]): T {
  const values = isObject(value) ? value : {};
  return Object.fromEntries(
    names.map(name => [name, Number.isFinite(values[name]) ? values[name] : 0])
  ) as T;
}

function isOneOf<T extends string>(value: unknown, values: readonly T[]): value is T {
  return values.includes(value as T);
}

function isObject(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textsOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : []).map(text);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
