import { describe, expect, it } from 'vitest';

import { work } from './agentTask';
import { contentOf, deskWith } from './sharedNotebook';

const CELLS = [
  { id: 'alpha', source: 'a = 1' },
  { id: 'beta', source: 'b = 2' },
  { id: 'gamma', source: 'c = 3' },
  { id: 'delta', source: '# Text', type: 'markdown' as const }
];
const BEFORE = CELLS.map(({ id, source }) => [id, source]);

describe('undo', () => {
  it('restores texts, order, ids and outputs', async () => {
    const { desk, shared } = deskWith(CELLS);
    Object.assign(shared.cells[2], {
      outputs: [{ output_type: 'stream', name: 'stdout', text: 'old' }],
      execution_count: 7
    });
    const before = shared.cells.map(cell => cell.toJSON());
    const { journal } = await work(desk, [
      [['delete_cell', { cell: 'alpha' }]],
      [['delete_cell', { cell: 'beta' }]],
      [['add_cell', { source: 'new', after: 'top' }]],
      [['edit_cell', { cell: 'last', source: 'newer' }]],
      [['edit_cell', { cell: 'gamma', source: 'c = 4' }]],
      [['edit_cell', { cell: 'gamma', source: 'c = 5' }]],
      [['run_cell', { cell: 'gamma' }]],
      [['add_cell', { source: 'gone' }]],
      [['delete_cell', { cell: 'last' }]],
      'Done.'
    ]);
    expect(contentOf(shared).map(([, source]) => source)).toEqual(['newer', 'c = 5', '# Text']);
    expect(journal.conflicts(shared)).toEqual([]);
    journal.undo(shared);
    expect(shared.cells.map(cell => cell.toJSON())).toEqual(before);
    expect(journal.size).toBe(0);
  });

  it('restores a cell of which parts were accepted', async () => {
    const { desk, shared, user } = deskWith(CELLS);
    user.decide = () => 'partly';
    const edit = ['edit_cell', { cell: 'alpha', source: 'a = 2\nx' }] as const;
    const { journal } = await work(desk, [[edit], 'Done.']);
    expect(contentOf(shared)[0][1]).toBe('a = 2');
    journal.undo(shared);
    expect(contentOf(shared)).toEqual(BEFORE);
  });

  it('keeps what the user has added, and deleted, meanwhile', async () => {
    const { desk, shared } = deskWith(CELLS);
    const calls = [
      ['delete_cell', { cell: 'beta' }],
      ['edit_cell', { cell: 'gamma', source: 'x' }]
    ] as const;
    const { journal } = await work(desk, [calls, 'Done.']);
    shared.insertCell(1, { cell_type: 'code', source: 'mine', id: 'user' } as never);
    shared.deleteCell(3);
    expect(journal.conflicts(shared)).toEqual([]);
    journal.undo(shared);
    expect(contentOf(shared)).toEqual([
      ['alpha', 'a = 1'],
      ['beta', 'b = 2'],
      ['user', 'mine'],
      ['gamma', 'c = 3']
    ]);
  });

  it('finds the cells that the user has changed or deleted since', async () => {
    const { desk, shared, user } = deskWith(CELLS);
    const calls = [
      ['edit_cell', { cell: 'alpha', source: 'a = 2' }],
      ['add_cell', { source: 'new' }],
      ['edit_cell', { cell: 'gamma', source: 'x' }]
    ] as const;
    const { journal } = await work(desk, [calls, 'Done.']);
    shared.cells[0].setSource('a = 2  # mine');
    shared.cells[4].setSource('new, too');
    shared.deleteCell(2);
    const added = shared.cells[3].getId();
    const conflicts = journal.conflicts(shared);
    expect(conflicts).toEqual([
      { id: 'alpha', reason: 'changed' },
      { id: added, reason: 'changed' },
      { id: 'gamma', reason: 'deleted' }
    ]);
    journal.undo(shared, new Set(conflicts.map(one => one.id)));
    expect(contentOf(shared).map(([, source]) => source)).toEqual([
      'a = 2  # mine',
      'b = 2',
      '# Text',
      'new, too'
    ]);
    expect(user.proposed).toHaveLength(3);
  });

  it('overwrites changes of the user only if asked to', async () => {
    const { desk, shared, user } = deskWith(CELLS);
    // The user types into the cell while the proposal is open.
    user.decide = () => ({ write: 'a = 2  # mine' });
    const edit = ['edit_cell', { cell: 'alpha', source: 'a = 2' }] as const;
    const { journal } = await work(desk, [[edit], 'Done.']);
    expect(journal.conflicts(shared)).toEqual([{ id: 'alpha', reason: 'changed' }]);
    journal.undo(shared);
    expect(contentOf(shared)).toEqual(BEFORE);
  });

  it('leaves outputs of later runs, and texts that the work has not changed', async () => {
    const { desk, shared } = deskWith(CELLS);
    const run = ['run_cell', { cell: 'alpha' }] as const;
    const { journal } = await work(desk, [[run], 'Done.']);
    const outputs = [{ output_type: 'stream', name: 'stdout', text: 'later' }];
    Object.assign(shared.cells[0], { outputs, execution_count: 9 });
    shared.cells[0].setSource('a = 1  # mine');
    expect(journal.conflicts(shared)).toEqual([]);
    journal.undo(shared);
    expect(shared.cells[0].toJSON()).toMatchObject({ source: 'a = 1  # mine', outputs });
  });
});
