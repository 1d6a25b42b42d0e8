// Users and groups: tokens, limits and the tokens that remain; block, and set a limit until a date.

import { attempt, send } from './api.js';
import { budgetCell, budgetSign, part, tightest } from './budgets.js';
import { ask } from './dialog.js';
import { button, card, el, nameOf } from './dom.js';
import { count, holder } from './format.js';
import { setLimit } from './limits.js';
import { server, table, watch } from './store.js';
import { Table } from './table.js';

async function block(row) {
  const title = `Block ${row.name.slice(0, 80)}?`;
  const text = 'Running requests of this user end now, and new ones are refused.';
  if (await ask({ title, text, action: 'Block', danger: true })) {
    await attempt('The user is blocked', () => send('POST', '/admin/block', { user: row.name }));
  }
}

const unblock = row =>
  attempt('The user is not blocked any more', () =>
    send('POST', '/admin/unblock', { user: row.name })
  );

const tokens = (period, extra = '') => ({
  id: period,
  label: { day: '24 hours', week: '7 days', month: 'Month', term: 'Term' }[period],
  class: `number ${extra}`,
  value: row => row[period],
  text: row => (period !== 'term' || server().term ? count(row[period]) : '–')
});

const used = row => (row.budgets.length ? part(tightest(row.budgets)) : -1);

const shared = [
  {
    id: 'running',
    label: 'Running',
    class: 'number mid',
    value: row => row.running,
    text: row => count(row.running)
  },
  {
    id: 'waiting',
    label: 'Waiting',
    class: 'number mid',
    value: row => row.waiting,
    text: row => count(row.waiting)
  },
  tokens('day'),
  tokens('week', 'mid'),
  tokens('month', 'wide'),
  tokens('term', 'wide'),
  {
    id: 'budget',
    label: 'Left',
    class: 'left',
    value: used,
    sign: row => budgetSign(row.budgets),
    show: row => budgetCell(row.budgets)
  }
];

export function usersCard() {
  const columns = [
    {
      id: 'name',
      label: 'User',
      first: 'ascending',
      value: row => row.name,
      sign: row => `${row.name} ${row.blocked}`,
      show: row => [
        nameOf(row.name),
        row.blocked ? el('span', { class: 'pill refused' }, 'blocked') : null
      ]
    },
    {
      id: 'groups',
      label: 'Groups',
      class: 'wide',
      first: 'ascending',
      value: row => row.groups.join(', '),
      sign: row => row.groups.join(', '),
      show: row => nameOf(row.groups.join(', ') || '–')
    },
    ...shared,
    {
      id: 'actions',
      label: 'Actions',
      hidden: true,
      class: 'actions',
      sign: row => String(row.blocked),
      show: row => {
        const of = row.name.slice(0, 80);
        return [
          button('Limit', () => setLimit(`user:${row.name}`, false), {
            'aria-label': `Limit ${of}`
          }),
          row.blocked
            ? button('Unblock', () => unblock(row), { 'aria-label': `Unblock ${of}` })
            : button('Block', () => block(row), { 'aria-label': `Block ${of}` })
        ];
      }
    }
  ];
  const grid = new Table({
    label: 'Users',
    columns,
    sort: { id: 'day', order: 'descending' },
    empty: 'No user found.',
    search: row => `${row.name} ${row.groups.join(' ')}`
  });
  const { node, tools } = card('Users', grid.node);
  tools.append(grid.searchBox('Search users'));
  watch(['users'], () => grid.update(table('users')));
  return { node, tick: () => undefined };
}

export function groupsCard() {
  const columns = [
    {
      id: 'name',
      label: 'Group',
      first: 'ascending',
      value: row => row.name,
      sign: row => row.name,
      show: row => (row.name === '*' ? el('strong', {}, 'All users') : nameOf(row.name))
    },
    {
      id: 'members',
      label: 'Users',
      class: 'number',
      value: row => row.members,
      text: row => count(row.members)
    },
    ...shared,
    {
      id: 'actions',
      label: 'Actions',
      hidden: true,
      class: 'actions',
      sign: row => row.name,
      show: row => {
        const of = row.name === '*' ? '*' : `group:${row.name}`;
        const whom = holder(of).slice(0, 80);
        return [
          button('Limit each', () => setLimit(of, false), {
            'aria-label': `Limit each of: ${whom}`
          }),
          button('Limit all', () => setLimit(of, true), { 'aria-label': `Limit all of: ${whom}` })
        ];
      }
    }
  ];
  const grid = new Table({
    label: 'Groups',
    columns,
    sort: { id: 'day', order: 'descending' },
    empty: 'No group found.',
    search: row => row.name
  });
  const { node } = card('Groups', grid.node);
  watch(['groups'], () => grid.update(table('groups')));
  return { node, tick: () => undefined };
}
