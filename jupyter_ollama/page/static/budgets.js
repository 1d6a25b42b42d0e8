// Budgets of tokens: how much of each is used.

import { el, nameOf } from './dom.js';
import { PERIODS, count, holder, moment } from './format.js';

export function part(budget) {
  return budget.limit ? Math.min(1, budget.used / budget.limit) : 1;
}

/** The budget that is the closest to its end. */
export function tightest(budgets) {
  return budgets.reduce((best, one) => (!best || part(one) > part(best) ? one : best), null);
}

function levelOf(budget) {
  const used = part(budget);
  return used >= 1 ? 'spent' : used >= (budget.soft ?? 0.8) ? 'close' : 'fine';
}

export function meter(budget, label) {
  const bar = el('meter', { min: 0, max: 1, value: part(budget), 'aria-label': label });
  bar.className = levelOf(budget);
  return bar;
}

export function labelOf(budget) {
  const model = budget.model ? ` with ${budget.model}` : '';
  return `${count(budget.left)} of ${count(budget.limit)} left, ${PERIODS[budget.period]}${model}`;
}

/** A short cell for a table. */
export function budgetCell(budgets) {
  const budget = tightest(budgets);
  if (!budget) {
    return el('span', { class: 'faint' }, 'no limit');
  }
  const label = labelOf(budget);
  const whose = budget.of.startsWith('user:') ? '' : ` (${holder(budget.of)})`;
  const more = budgets.length > 1 ? ` +${budgets.length - 1}` : '';
  return el(
    'div',
    { class: 'budget', title: budgets.map(labelOf).join('\n') },
    meter(budget, label + whose),
    el('span', {}, label, el('span', { class: 'faint' }, whose.slice(0, 60) + more))
  );
}

export function budgetSign(budgets) {
  return JSON.stringify(budgets.map(one => [one.of, one.period, one.model, one.limit, one.used]));
}

/** A whole list of budgets with their ends. */
export function budgetList(budgets) {
  if (!budgets.length) {
    return el('p', { class: 'empty' }, 'No budget of tokens applies.');
  }
  return el(
    'ul',
    { class: 'budgets' },
    ...budgets.map(budget => {
      const own = budget.of.startsWith('user:');
      const period = PERIODS[budget.period];
      const who = own ? `Yours, ${period}` : `${holder(budget.of)} together, ${period}`;
      const whose = who.slice(0, 120);
      const ends = budget.ends_at
        ? `${budget.left ? 'begins anew' : 'tokens again'} ${moment(budget.ends_at)}`
        : '';
      return el(
        'li',
        {},
        el('div', { class: 'row' }, nameOf(whose), el('span', { class: 'faint' }, ends)),
        meter(budget, `${whose}: ${labelOf(budget)}`),
        el('div', { class: 'hint' }, labelOf(budget))
      );
    })
  );
}
