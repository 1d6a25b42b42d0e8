// Other servers whose models this one serves. The section is hidden where there are none.

import { card, el, nameOf } from './dom.js';
import { count } from './format.js';
import { table, watch } from './store.js';
import { Table } from './table.js';

const PILLS = { ok: 'loaded', failing: 'failed', unknown: 'rest' };
const STATES = { ok: 'answers', failing: 'fails', unknown: 'not asked yet' };

export function upstreamsCard() {
  const number = (id, label) => ({
    id,
    label,
    class: 'number',
    value: row => row[id],
    text: row => count(row[id])
  });
  const columns = [
    {
      id: 'name',
      label: 'Upstream',
      first: 'ascending',
      value: row => row.name,
      sign: row => row.name + row.url,
      show: row => [nameOf(row.name), el('div', { class: 'hint' }, row.url)]
    },
    {
      id: 'state',
      label: 'State',
      value: row => row.state,
      sign: row => row.state + row.error,
      show: row => [
        el('span', { class: `pill ${PILLS[row.state]}` }, STATES[row.state]),
        row.error ? el('div', { class: 'hint' }, row.error.slice(0, 300)) : null
      ]
    },
    number('models', 'Models'),
    number('running', 'Running'),
    number('answered', 'Answered'),
    number('failed', 'Failed')
  ];
  const grid = new Table({
    label: 'Upstreams',
    columns,
    sort: { id: 'name', order: 'ascending' },
    empty: 'There are no upstreams.',
    search: row => row.name
  });
  const { node } = card('Upstreams', grid.node);
  node.hidden = true;
  watch(['upstreams'], () => {
    node.hidden = !table('upstreams').size;
    grid.update(table('upstreams'));
  });
  return { node, tick: () => grid.tick() };
}
