import { YNotebook } from '@jupyter/ydoc';

import { CellNames } from '../src/agent/cellNames';
import type { CellType, Decision, IDesk, IDeskKernel, IProposals } from '../src/agent/desk';
import { placed } from '../src/agent/desk';

/** A user who decides about changes, and a record of what has happened to the notebook. */
export interface IUser {
  /** What the user decides about a change, or writes in place of it. */
  decide: () => Decision | { readonly write: string };
  readonly proposed: string[];
  readonly ran: string[];
}

/** A cell of a test. */
export interface ITestCell {
  readonly id: string;
  readonly source: string;
  readonly type?: CellType;
}

/**
 * A real shared notebook with a user and a kernel that are played.
 *
 * A change is made only when the user decides so. Running a cell stores its code as its output.
 */
export function deskWith(cells: readonly ITestCell[], changes: Partial<IDesk> = {}) {
  const shared = new YNotebook();
  const nodes = cells.map(({ id, source, type = 'code' }) => {
    const outputs = type === 'code' ? { outputs: [], execution_count: null } : {};
    return { id, source, cell_type: type, metadata: {}, ...outputs };
  });
  shared.fromJSON({ cells: nodes as never, metadata: {}, nbformat: 4, nbformat_minor: 5 });
  const user: IUser = { decide: () => 'accepted', proposed: [], ran: [] };
  const desk: IDesk = {
    key: {},
    path: 'folder/work.ipynb',
    language: 'python',
    isOpen: true,
    isReadOnly: false,
    shared,
    names: new CellNames(),
    proposals: proposalsOf(shared, user),
    kernel: kernelOf(shared, user),
    ...changes
  };
  return { desk, shared, user };
}

/** Return the ids and texts of all cells. */
export function contentOf(shared: YNotebook): [string, string][] {
  return shared.cells.map(cell => [cell.getId(), cell.getSource()]);
}

function proposalsOf(shared: YNotebook, user: IUser): IProposals {
  const decided = async (what: string) => {
    user.proposed.push(what);
    // The user takes a moment.
    await Promise.resolve();
    return user.decide();
  };
  return {
    edit: async (id, source) => {
      const decision = await decided(source);
      if (decision === 'refused') {
        return decision;
      }
      const cell = placed({ shared }, id)?.cell;
      const [first] = source.split('\n');
      const written = { accepted: source, partly: first };
      cell?.setSource(typeof decision === 'string' ? written[decision] : decision.write);
      return typeof decision === 'string' ? decision : 'accepted';
    },
    add: async (index, type, source) => {
      if ((await decided(source)) !== 'accepted') {
        return undefined;
      }
      return shared.insertCell(index, { cell_type: type, source } as never).getId();
    },
    delete: async id => {
      if ((await decided(id)) !== 'accepted') {
        return 'refused';
      }
      shared.deleteCell(placed({ shared }, id)?.index ?? -1);
      return 'accepted';
    }
  };
}

function kernelOf(shared: YNotebook, user: IUser): IDeskKernel {
  return {
    problem: undefined,
    idle: () => Promise.resolve(),
    run: async (id, code) => {
      const cell = placed({ shared }, id)?.cell;
      if (cell?.getSource() !== code) {
        return false;
      }
      user.ran.push(code);
      const output = { output_type: 'stream', name: 'stdout', text: `ran ${code}` };
      Object.assign(cell, { outputs: [output], execution_count: user.ran.length });
      return true;
    },
    describe: async name => `${name} is described`
  };
}
