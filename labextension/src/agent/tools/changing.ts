import type { ICell } from '@jupyterlab/nbformat';

import { type Arguments, parameters } from '../arguments';
import { type CellType, type Decision, type IDesk, type IPlacedCell, placed } from '../desk';
import { CELL, findCell, nameOf } from './findCell';
import { type ICall, type IResult, type ITool, ToolError } from './tool';

/** Where add_cell puts a cell before all others. */
const TOP = 'top';
const SOURCE = { type: 'string', description: 'The whole new text of the cell.' } as const;
const REFUSED = 'The user refused this change. The notebook is as it was.';

/** Return the tools that propose changes of cells. The user accepts or refuses each. */
export function changingTools(): ITool[] {
  return [
    {
      name: 'add_cell',
      description: 'Propose a new cell. The result names its id.',
      parameters: parameters({
        source: { type: 'string', description: 'The text of the cell.' },
        'type?': {
          type: 'string',
          enum: ['code', 'markdown'],
          description: 'The type of the cell, "code" if it is left out.'
        },
        'after?': {
          type: 'string',
          description: `The id of the cell before it, or "${TOP}". Left out: the end of the notebook.`
        }
      }),
      call: addCell
    },
    {
      name: 'edit_cell',
      description: 'Propose another text for a cell.',
      parameters: parameters({ cell: CELL, source: SOURCE }),
      call: editCell
    },
    {
      name: 'delete_cell',
      description: 'Propose to delete a cell.',
      parameters: parameters({ cell: CELL }),
      call: deleteCell
    }
  ];
}

async function addCell(args: Arguments, call: ICall): Promise<IResult> {
  const { desk, journal } = call;
  checkWritable(desk);
  const index = placeOf(desk, args.after as string | undefined);
  call.show({ state: 'asks', position: index + 1 });
  journal.begin(desk.shared);
  const type = (args.type ?? 'code') as CellType;
  const id = await call.decided(desk.proposals.add(index, type, String(args.source), call));
  const added = id === undefined ? undefined : placed(desk, id);
  if (!added) {
    return { text: REFUSED, state: 'refused' };
  }
  desk.names.last = added.id;
  journal.added(added.id, added.cell.getSource());
  return { text: `The user accepted it: cell ${nameOf(desk, added)}.` };
}

async function editCell(args: Arguments, call: ICall): Promise<IResult> {
  const { desk, journal } = call;
  checkWritable(desk);
  const found = findCell(desk, String(args.cell));
  checkAllowed(found, 'editable');
  const before = found.cell.toJSON() as ICell;
  const wanted = String(args.source);
  if (wanted === found.cell.getSource()) {
    return { text: 'The cell has this text already.' };
  }
  call.show({ state: 'asks', position: found.index + 1 });
  journal.begin(desk.shared);
  const decision = await call.decided(desk.proposals.edit(found.id, wanted, call));
  const now = placed(desk, found.id);
  const after = now?.cell.getSource();
  if (!now || after === undefined || decision === 'refused') {
    return { text: REFUSED, state: 'refused' };
  }
  desk.names.last = found.id;
  // Another text than the accepted one is the work of the user, too.
  journal.edited(found.id, before, after, decision === 'accepted' && after !== wanted);
  if (decision === 'accepted' && after === wanted) {
    return { text: `The user accepted it: cell ${nameOf(desk, now)} has the new text.` };
  }
  return { text: `The user accepted a part. Cell ${nameOf(desk, now)} is now:\n${after}` };
}

async function deleteCell(args: Arguments, call: ICall): Promise<IResult> {
  const { desk, journal } = call;
  checkWritable(desk);
  const found = findCell(desk, String(args.cell));
  checkAllowed(found, 'deletable');
  if (desk.shared.cells.length === 1) {
    throw new ToolError('It is the only cell of the notebook. Edit it instead.');
  }
  call.show({ state: 'asks', position: found.index + 1 });
  journal.begin(desk.shared);
  const cell = found.cell.toJSON() as ICell;
  const decision: Decision = await call.decided(desk.proposals.delete(found.id, call));
  if (decision === 'refused' || placed(desk, found.id)) {
    return { text: REFUSED, state: 'refused' };
  }
  journal.deleted(found.id, cell);
  return { text: 'The user accepted it: the cell is deleted.' };
}

/** Return the position of a new cell. */
function placeOf(desk: IDesk, after: string | undefined): number {
  if (after === undefined || after === '') {
    return desk.shared.cells.length;
  }
  return after === TOP ? 0 : findCell(desk, after).index + 1;
}

function checkWritable(desk: IDesk): void {
  if (desk.isReadOnly) {
    throw new ToolError('The notebook is read-only.');
  }
}

function checkAllowed({ cell }: IPlacedCell, what: 'editable' | 'deletable'): void {
  if (cell.getMetadata(what) === false) {
    throw new ToolError(`The user has marked this cell as not ${what}.`);
  }
}
