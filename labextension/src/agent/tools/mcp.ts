import type { McpServer, OllamaApi } from '../../api';
import { OllamaError } from '../../ndjson';
import { cut } from '../outputs';
import { type IPolicy, offersMcp, offersMcpTool } from '../policy';
import { type IForeignTool, ToolError } from './tool';

/** The characters of a result. */
const LIMIT = 8_000;
/** The characters of a name of a tool that every API accepts. */
const LONGEST = 64;

/** The parts of the API that reach the MCP servers of the settings. */
export type McpApi = Pick<OllamaApi, 'mcpTools' | 'callMcpTool'>;

/** The tools of MCP servers. */
export interface IMcpTools {
  readonly tools: readonly IForeignTool[];
  /** Why tools are missing, for the user. */
  readonly problems: readonly string[];
}

export const NO_TOOLS: IMcpTools = { tools: [], problems: [] };

/**
 * Return the tools of the MCP servers that the settings name and the administrator offers.
 *
 * Each call is a question, and an approval holds for that call alone. Aborting the signal ends the
 * wait for servers that start.
 */
export async function mcpTools(
  api: McpApi,
  policy: IPolicy,
  signal: AbortSignal
): Promise<IMcpTools> {
  if (!offersMcp(policy)) {
    return NO_TOOLS;
  }
  let servers: McpServer[];
  try {
    servers = await api.mcpTools(signal);
  } catch (error) {
    // A user without the right to call them, and an older server, have none.
    const hasNone = error instanceof OllamaError && [403, 404].includes(error.status);
    const isQuiet = hasNone || signal.aborted;
    return { tools: [], problems: isQuiet ? [] : [(error as Error).message] };
  }
  const names = new Set<string>();
  const tools = servers.flatMap(server =>
    server.tools
      .filter(tool => offersMcpTool(policy, server.name, tool.name))
      .map((tool): IForeignTool => {
        const label = `${server.name}.${tool.name}`;
        return {
          name: newName(`mcp_${server.name}_${tool.name}`, names),
          description: tool.description,
          parameters: tool.parameters,
          call: async (args, call) => {
            call.show({ label });
            const text = `${label}\n${JSON.stringify(args, null, 2)}`;
            if ((await call.ask({ kind: 'call', text })) === 'never') {
              return {
                text: 'The user does not allow this call. Go on without it.',
                state: 'refused'
              };
            }
            call.show({ state: 'runs', question: undefined });
            try {
              const result = await api.callMcpTool(server.name, tool.name, args, call.signal);
              return {
                text: cut(result.content, LIMIT),
                state: result.is_error ? 'failed' : 'done'
              };
            } catch (error) {
              throw new ToolError((error as Error).message);
            }
          }
        };
      })
  );
  return { tools, problems: servers.map(({ error }) => error).filter(error => error) };
}

/** Return a name that every API of tools accepts, and that no other tool has. */
function newName(wanted: string, taken: Set<string>): string {
  const base = wanted.replace(/[^\w-]/g, '_');
  let name = base.slice(0, LONGEST);
  for (let number = 2; taken.has(name); number++) {
    const end = `_${number}`;
    name = base.slice(0, LONGEST - end.length) + end;
  }
  taken.add(name);
  return name;
}
