import type { ICell } from '@jupyterlab/nbformat';

import { parameters } from '../arguments';
import { placed } from '../desk';
import { errorLine, readOutputs } from '../outputs';
import type { Approvals, IPolicy } from '../policy';
import { unlessAborted } from '../unlessAborted';
import { CELL, findCell, nameOf } from './findCell';
import { OUTPUT, outputsOf } from './reading';
import { type ICall, type IResult, type ITool, ToolError } from './tool';

const REFUSED =
  'The user does not allow it. The cell has not run. Do not ask again: go on without it.';

/**
 * Return the tool that runs cells, if the user allows it.
 *
 * An approval is bound to the text that the user has seen: if the cell has another one when it
 * should run, the user is asked again.
 */
export function runningTool(policy: IPolicy, approvals: Approvals): ITool {
  /** The journals of works in which the user has answered "never". */
  const refusing = new WeakSet<object>();

  async function run(name: string, call: ICall): Promise<IResult> {
    const { desk, journal, signal } = call;
    if (policy.run === 'never') {
      return { text: 'The administrator does not allow runs by models.', state: 'refused' };
    }
    const { id, cell, index } = findCell(desk, name);
    call.show({ position: index + 1 });
    if (cell.cell_type !== 'code') {
      throw new ToolError('It is no code cell.');
    }
    for (;;) {
      const code = cell.getSource();
      if (!code.trim()) {
        throw new ToolError('The cell is empty.');
      }
      if (desk.kernel.problem) {
        throw new ToolError(`Nothing can run: ${desk.kernel.problem}.`);
      }
      if (policy.run !== 'allow' && !approvals.has(desk.key)) {
        if (refusing.has(journal)) {
          return { text: REFUSED, state: 'refused' };
        }
        const answer = await call.ask({ kind: 'run', text: code });
        if (answer === 'never') {
          refusing.add(journal);
          return { text: REFUSED, state: 'refused' };
        }
        approvals.note(desk.key, answer);
      }
      call.show({ state: 'runs', question: undefined });
      await desk.kernel.idle(signal);
      if (!placed(desk, id)) {
        throw new ToolError('The cell was deleted before it could run.');
      }
      journal.begin(desk.shared);
      const before = cell.toJSON() as ICell;
      const running = desk.kernel.run(id, code, signal).then(ran => {
        const now = placed(desk, id);
        // An interrupted cell has lost its outputs, too.
        if (ran && now) {
          journal.ran(id, before, now.cell.toJSON() as ICell);
        }
        return ran;
      });
      if (!(await unlessAborted(running, signal))) {
        continue;
      }
      const now = placed(desk, id);
      if (!now) {
        return { text: 'The cell ran and was deleted meanwhile.' };
      }
      const outputs = outputsOf(now.cell);
      const { text, images } = readOutputs(outputs, OUTPUT, call.seesImages);
      const error = errorLine(outputs);
      const head = `Cell ${nameOf(desk, now)} ${error ? 'raised an error' : 'ran'}.`;
      return { text: `${head} ${text ? `Outputs:\n${text}` : 'It has no output.'}`, images };
    }
  }

  return {
    name: 'run_cell',
    description: 'Run a code cell, if the user allows it, and read its outputs.',
    parameters: parameters({ cell: CELL }),
    call: ({ cell }, call) => run(String(cell), call)
  };
}
