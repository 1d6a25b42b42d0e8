import type { Contents } from '@jupyterlab/services';

import type { ChatRequest } from '../api';
import { type Arguments, checked } from './arguments';
import { type Approvals, type IPolicy, offers } from './policy';
import { changingTools } from './tools/changing';
import { fileTools } from './tools/files';
import { readingTools } from './tools/reading';
import { runningTool } from './tools/running';
import { type ICall, type IForeignTool, type IResult, type ITool, ToolError } from './tools/tool';
import { variableTool } from './tools/variables';
import type { Mode } from './work';

export type ToolDefinition = NonNullable<ChatRequest['tools']>[number];

/** The tools of a mode. A call of another one has no effect. */
export class Toolbox {
  constructor(tools: readonly ITool[], foreign: readonly IForeignTool[] = []) {
    this._tools = new Map(tools.map(tool => [tool.name, tool]));
    // A tool of another program cannot take the place of one of ours.
    const others = foreign.filter(tool => !this._tools.has(tool.name));
    this._foreign = new Map(others.map(tool => [tool.name, tool]));
  }

  /** The definitions that are sent to the model. */
  get definitions(): ToolDefinition[] {
    const all = [...this._tools.values(), ...this._foreign.values()];
    return all.map(({ name, description, parameters }) => ({
      type: 'function',
      function: { name, description, parameters: parameters as unknown as Record<string, never> }
    }));
  }

  /** Call a tool by its name with the arguments that a model has written. */
  async call(name: string, args: unknown, call: ICall): Promise<IResult> {
    const tool = this._tools.get(name);
    const foreign = this._foreign.get(name);
    const callee: ITool | IForeignTool | undefined = tool ?? foreign;
    if (!callee) {
      const wanted = JSON.stringify(name.slice(0, 100));
      const known = [...this._tools.keys(), ...this._foreign.keys()].join(', ') || 'none';
      return { text: `There is no tool ${wanted}. The tools: ${known}.`, state: 'failed' };
    }
    const given = args ?? {};
    const taken = tool ? checked(tool.parameters, given) : objectOf(given);
    if (typeof taken === 'string') {
      return { text: taken, state: 'failed' };
    }
    try {
      return await callee.call(taken as Arguments, call);
    } catch (error) {
      if (call.signal.aborted || !(error instanceof ToolError)) {
        throw error;
      }
      return { text: error.message, state: 'failed' };
    }
  }

  private readonly _tools: ReadonlyMap<string, ITool>;
  private readonly _foreign: ReadonlyMap<string, IForeignTool>;
}

/** Return the tools of a mode that the administrator offers. */
export function toolsOf(
  mode: Mode,
  policy: IPolicy,
  approvals: Approvals,
  contents: Pick<Contents.IManager, 'get'>,
  foreign: readonly IForeignTool[] = []
): Toolbox {
  const tools: ITool[] = mode === 'ask' ? [] : [...readingTools(), ...changingTools()];
  if (mode === 'agent') {
    tools.push(runningTool(policy, approvals), variableTool(), ...fileTools(contents));
  }
  const offered = tools.filter(tool => offers(policy, tool.name));
  return new Toolbox(offered, mode === 'agent' ? foreign : []);
}

function objectOf(value: unknown): Record<string, unknown> | string {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : 'The arguments must be an object.';
}
