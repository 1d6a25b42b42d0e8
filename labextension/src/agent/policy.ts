import type { Approval, IBounds } from './work';

/** Whether cells may run: after a question, not at all, or without a question. */
export type RunPolicy = 'ask' | 'never' | 'allow';

/** The administrator's rules. */
export interface IPolicy {
  readonly run: RunPolicy;
  /** The tools that are offered: names, "mcp:SERVER" and "mcp:SERVER.TOOL"; null for all. */
  readonly tools: readonly string[] | null;
  /** The upper bounds of each work. */
  readonly bounds: IBounds;
}

/** Begins the names of MCP servers among the tools. */
const MCP = 'mcp:';

/** The rules of a server that states none. */
export const DEFAULT_POLICY: IPolicy = {
  run: 'ask',
  tools: null,
  bounds: { steps: 100, tokens: 1_000_000, minutes: 60 }
};

/**
 * Return the rules in the page's configuration.
 *
 * What cannot be read is refused: no tool is offered.
 */
export function policyOf(text: string): IPolicy {
  if (!text) {
    return DEFAULT_POLICY;
  }
  try {
    const { run, tools, steps, tokens, minutes } = JSON.parse(text);
    if (
      ['ask', 'never', 'allow'].includes(run) &&
      (tools === null || (Array.isArray(tools) && tools.every(one => typeof one === 'string'))) &&
      [steps, tokens, minutes].every(one => typeof one === 'number' && one > 0)
    ) {
      return { run, tools, bounds: { steps, tokens, minutes } };
    }
  } catch {
    // Handled as any other text that is no policy.
  }
  return { ...DEFAULT_POLICY, run: 'never', tools: [] };
}

/** Return whether a tool is offered. */
export function offers(policy: IPolicy, tool: string): boolean {
  if (tool === 'run_cell' && policy.run === 'never') {
    return false;
  }
  return policy.tools === null || policy.tools.includes(tool);
}

/** Return whether any tool of MCP servers may be offered. */
export function offersMcp({ tools }: IPolicy): boolean {
  return tools === null || tools.some(one => one.startsWith(MCP));
}

/** Return whether a tool of an MCP server is offered, by its name or with all of its server. */
export function offersMcpTool({ tools }: IPolicy, server: string, tool: string): boolean {
  const names = [`${MCP}${server}`, `${MCP}${server}.${tool}`];
  return tools === null || names.some(one => tools.includes(one));
}

/** Return whether cells may run, where the tool that runs them may not be offered. */
export function runsOf(policy: IPolicy): RunPolicy {
  return offers(policy, 'run_cell') ? policy.run : 'never';
}

/** Return the smaller of the user's bounds and the administrator's. */
export function boundsOf(policy: IPolicy, wanted: IBounds): IBounds {
  const { steps, tokens, minutes } = policy.bounds;
  return {
    steps: Math.min(steps, wanted.steps),
    tokens: Math.min(tokens, wanted.tokens),
    minutes: Math.min(minutes, wanted.minutes)
  };
}

/**
 * The notebooks in which cells run without a question, until the page is closed.
 *
 * Only the user's answer adds one. The object that stands for an open notebook is the key, so that
 * another notebook with the same path is asked for again.
 */
export class Approvals {
  /** Return whether the user has allowed all runs in a notebook. */
  has(notebook: object): boolean {
    return this._allowed.has(notebook);
  }

  /** Remember the user's answer. */
  note(notebook: object, answer: Approval): void {
    if (answer === 'always') {
      this._allowed.add(notebook);
    }
  }

  /** Ask again in a notebook. */
  revoke(notebook: object): void {
    this._allowed.delete(notebook);
  }

  private readonly _allowed = new WeakSet<object>();
}
