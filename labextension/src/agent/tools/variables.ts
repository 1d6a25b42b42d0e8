import { parameters } from '../arguments';
import { cut } from '../outputs';
import { type ITool, ToolError } from './tool';

const LIMIT = 4_000;

/** Return the tool that describes a variable of the kernel. */
export function variableTool(): ITool {
  return {
    name: 'inspect_variable',
    description: 'Describe a variable of the kernel: type, size, columns, first rows.',
    parameters: parameters({
      name: { type: 'string', description: 'The name of the variable, such as df.' }
    }),
    call: async ({ name }, { desk }) => {
      // Anything else than a name would be an expression, which runs code.
      if (!/^[\p{L}_][\p{L}\p{N}_]{0,99}$/u.test(String(name))) {
        throw new ToolError('It is no name of a variable.');
      }
      if (desk.kernel.problem) {
        throw new ToolError(`Nothing can be inspected: ${desk.kernel.problem}.`);
      }
      return { text: cut(await desk.kernel.describe(String(name)), LIMIT) };
    }
  };
}
