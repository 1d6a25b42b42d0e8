// Limits that an administrator sets until a date, and the words for all limits.

import { attempt, send } from './api.js';
import { ask } from './dialog.js';
import { button, card, el, nameOf } from './dom.js';
import { count, holder, moment, serverTime } from './format.js';
import { table, watch } from './store.js';
import { Table } from './table.js';

export const LIMITS = {
  tokens_per_minute: 'Tokens a minute',
  tokens_per_day: 'Tokens in 24 hours',
  tokens_per_week: 'Tokens in 7 days',
  tokens_per_month: 'Tokens a month',
  tokens_per_term: 'Tokens a term',
  concurrent: 'Requests at once',
  queue: 'Waiting requests',
  num_ctx: 'Longest context in tokens',
  num_predict: 'Longest answer in tokens'
};

export async function setLimit(of, shared) {
  const options = Object.entries(LIMITS).filter(([name]) => !shared || name.startsWith('tokens'));
  const kind = el(
    'select',
    { name: 'kind' },
    ...options.map(([value, label]) => el('option', { value }, label))
  );
  kind.value = 'tokens_per_day';
  const amount = el('input', {
    name: 'amount',
    type: 'number',
    min: 0,
    step: 1,
    placeholder: 'no limit'
  });
  const week = new Date(1000 * (serverTime() + 7 * 86_400)).toISOString().slice(0, 10);
  const today = new Date(1000 * serverTime()).toISOString().slice(0, 10);
  const until = el('input', {
    name: 'until',
    type: 'date',
    required: true,
    value: week,
    min: today
  });
  const title = `Limit for ${holder(of).slice(0, 80)}${shared ? ', shared' : ''}`;
  const fields = [
    { label: 'Limit', input: kind },
    { label: 'Value', input: amount, hint: 'Leave it empty to lift the limit.' },
    { label: 'Until the end of', input: until, hint: 'Then the settings of the server hold again.' }
  ];
  const answer = await ask({ title, fields, action: 'Set the limit' });
  if (!answer) {
    return;
  }
  const value = answer.amount === '' ? null : Number(answer.amount);
  const current = table('overrides').get(shared ? `shared ${of}` : of);
  const limits = { ...current?.limits, [answer.kind]: value };
  const body = { of, shared, limits, until: answer.until };
  await attempt('The limit is set', () => send('PUT', '/admin/limits', body));
}

function limitText(limits) {
  return Object.entries(limits)
    .map(
      ([name, value]) => `${LIMITS[name] ?? name}: ${value === null ? 'no limit' : count(value)}`
    )
    .join(', ');
}

export function overridesCard(mayEnd) {
  const end = row =>
    attempt('The limit has ended', () =>
      send('DELETE', '/admin/limits', { of: row.of, shared: row.shared })
    );
  const columns = [
    {
      id: 'of',
      label: 'Whose',
      first: 'ascending',
      value: row => row.of,
      sign: row => row.of + row.shared,
      show: row => nameOf(holder(row.of) + (row.shared ? ', together' : ''))
    },
    { id: 'limits', label: 'Limits', class: 'long', text: row => limitText(row.limits) },
    { id: 'until', label: 'Until', value: row => row.until, text: row => moment(row.until) },
    ...(mayEnd
      ? [
          {
            id: 'actions',
            label: 'Actions',
            hidden: true,
            class: 'actions',
            sign: row => row.of + row.shared,
            show: row =>
              button('End', () => end(row), {
                'aria-label': `End the limit of ${holder(row.of).slice(0, 80)}`
              })
          }
        ]
      : [])
  ];
  const grid = new Table({
    label: 'Limits until a date',
    columns,
    sort: { id: 'until', order: 'ascending' },
    empty: 'No limit is set until a date.',
    search: row => row.of
  });
  const { node } = card('Limits until a date', grid.node);
  watch(['overrides'], () => grid.update(table('overrides')));
  return { node, tick: () => undefined };
}
