// Requests that run or wait, batches, and what was refused or has failed.

import { attempt, send, settings } from './api.js';
import { ask } from './dialog.js';
import { button, card, el, nameOf } from './dom.js';
import { ago, count, seconds, serverTime } from './format.js';
import { table, watch } from './store.js';
import { Table } from './table.js';

const RANK = { running: 0, loading: 1, queued: 2 };

const user = {
  id: 'user',
  label: 'User',
  first: 'ascending',
  value: row => row.user,
  sign: row => row.user,
  show: row => nameOf(row.user)
};
const model = {
  id: 'model',
  class: 'mid',
  label: 'Model',
  first: 'ascending',
  value: row => row.model,
  sign: row => row.model,
  show: row => nameOf(row.model || '–')
};

async function cancel(row) {
  const text = `${row.path} of ${row.user.slice(0, 80)}. The client gets an error.`;
  if (!(await ask({ title: 'Cancel this request?', text, action: 'Cancel it', danger: true }))) {
    return;
  }
  const place = settings.rights.admin ? '/admin/requests/' : '/api/requests/';
  const path = place + encodeURIComponent(row.id);
  await attempt('The request is cancelled', () => send('DELETE', path));
}

function stateText(row) {
  if (row.cancelled) {
    return 'ending';
  }
  return row.state === 'queued' && row.position ? `${row.state} #${row.position}` : row.state;
}

export function requestsCard(withUsers) {
  const columns = [
    ...(withUsers ? [user] : []),
    model,
    {
      id: 'state',
      label: 'State',
      first: 'ascending',
      value: row => RANK[row.state] * 1e9 + (row.position ?? 0) * 1e5 - row.began / 1e6,
      sign: stateText,
      show: row => el('span', { class: `pill ${row.state}` }, stateText(row))
    },
    {
      id: 'time',
      label: 'For',
      class: 'number',
      value: row => -row.began,
      text: row => seconds(serverTime() - row.began),
      ticks: true
    },
    {
      id: 'path',
      label: 'Path',
      class: 'wide',
      text: row => row.path + (row.bulk ? ' (bulk)' : '')
    },
    {
      id: 'actions',
      label: 'Actions',
      hidden: true,
      class: 'actions',
      sign: row => String(row.cancelled),
      show: row =>
        row.cancelled || !row.id
          ? null
          : button('Cancel', () => cancel(row), {
              'aria-label': `Cancel the request of ${row.user.slice(0, 80)} for ${row.model.slice(0, 80)}`
            })
    }
  ];
  const grid = new Table({
    label: 'Requests',
    columns,
    sort: { id: 'state', order: 'ascending' },
    empty: 'No request runs or waits.',
    search: row => `${row.user} ${row.model}`
  });
  const { node } = card(withUsers ? 'Queue' : 'Your requests', grid.node);
  watch(['requests'], () => grid.update(table('requests')));
  return { node, tick: () => grid.tick() };
}

async function cancelBatch(row) {
  const text = `${row.completed} of ${row.total} rows have an answer, which is kept.`;
  if (await ask({ title: `Cancel ${row.id}?`, text, action: 'Cancel it', danger: true })) {
    const path = `/v1/batches/${encodeURIComponent(row.id)}/cancel`;
    await attempt('The batch is cancelled', () => send('POST', path, {}));
  }
}

function progress(row) {
  const done = row.completed + row.failed;
  const text = `${count(done)} of ${count(row.total)}${row.failed ? `, ${row.failed} failed` : ''}`;
  const bar = el('progress', {
    max: row.total || 1,
    value: done,
    'aria-label': `Rows of ${row.id}`
  });
  return el('div', { class: 'budget' }, bar, el('span', {}, text));
}

export function batchesCard(withUsers) {
  const columns = [
    {
      id: 'created',
      label: 'Begun',
      value: row => row.created,
      text: row => ago(row.created),
      ticks: true
    },
    ...(withUsers ? [user] : []),
    model,
    {
      id: 'status',
      label: 'Status',
      first: 'ascending',
      value: row => row.status,
      sign: row => row.status + row.paused,
      show: row => [
        el('span', { class: `pill ${row.status}` }, row.status.replace('_', ' ')),
        row.paused ? el('div', { class: 'hint' }, row.paused.slice(0, 300)) : null
      ]
    },
    {
      id: 'rows',
      label: 'Rows',
      value: row => row.total,
      sign: row => `${row.completed} ${row.failed} ${row.total}`,
      show: progress
    },
    {
      id: 'tokens',
      label: 'Tokens',
      class: 'number wide',
      value: row => row.tokens,
      text: row => count(row.tokens)
    },
    { id: 'endpoint', label: 'Path', class: 'wide', text: row => row.endpoint },
    {
      id: 'actions',
      label: 'Actions',
      hidden: true,
      class: 'actions',
      sign: row => row.status,
      show: row =>
        row.finished || row.status === 'cancelling'
          ? null
          : button('Cancel', () => cancelBatch(row), { 'aria-label': `Cancel ${row.id}` })
    }
  ];
  const grid = new Table({
    label: 'Batches',
    columns,
    sort: { id: 'created', order: 'descending' },
    empty: 'There are no batches.',
    search: row => `${row.user} ${row.model} ${row.id} ${row.status}`
  });
  const { node, tools } = card(withUsers ? 'Batches' : 'Your batches', grid.node);
  tools.append(grid.searchBox('Search batches'));
  watch(['batches'], () => grid.update(table('batches')));
  return { node, tick: () => grid.tick() };
}

export function problemsCard(withUsers) {
  const columns = [
    { id: 'time', label: 'When', value: row => row.time, text: row => ago(row.time), ticks: true },
    ...(withUsers ? [user] : []),
    { id: 'status', label: 'Status', value: row => row.status, text: row => String(row.status) },
    { id: 'reason', label: 'Reason', class: 'long', text: row => row.reason }
  ];
  const grid = new Table({
    label: 'Errors',
    columns,
    sort: { id: 'time', order: 'descending' },
    empty: 'Nothing was refused and nothing has failed since the server was started.',
    search: row => `${row.user} ${row.reason}`
  });
  const { node } = card('Errors', grid.node);
  watch(['problems'], () => grid.update(table('problems')));
  return { node, tick: () => grid.tick() };
}
