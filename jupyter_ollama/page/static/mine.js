// The usage, the limits and the requests of the user.

import { settings } from './api.js';
import { budgetList, budgetSign } from './budgets.js';
import { card, el } from './dom.js';
import { count } from './format.js';
import { LIMITS, overridesCard } from './limits.js';
import { settingsCard } from './overview.js';
import { batchesCard, problemsCard, requestsCard } from './requests.js';
import { server, table, watch } from './store.js';
import { Tile, tiles } from './tiles.js';

export function me() {
  return table('users').get(settings.user);
}

export function mine() {
  const periods = { day: '24 hours', week: '7 days', month: 'this month', term: 'this term' };
  const shown = Object.entries(periods).map(([period, label]) => [
    period,
    new Tile(`Tokens, ${label}`)
  ]);
  const rights = new Tile('Your rights');
  const budgets = card('Budgets of tokens');
  const place = el('div');
  const limits = el('dl', { class: 'facts' });
  budgets.node.append(place, limits);
  let sign = null;
  watch(['users', 'server'], () => {
    const row = me();
    for (const [period, tile] of shown) {
      const hasPeriod = period !== 'term' || server().term;
      tile.show(hasPeriod ? count(row?.[period] ?? 0) : '–');
    }
    const now = budgetSign(row?.budgets ?? []) + JSON.stringify(row?.limits);
    if (sign !== now) {
      sign = now;
      place.replaceChildren(budgetList(row?.budgets ?? []));
      limits.replaceChildren(...factsOf(row?.limits ?? {}));
    }
  });
  const { run, manage, admin } = settings.rights;
  const may = admin ? 'administer' : manage ? 'run and change models' : run ? 'run models' : 'look';
  rights.show(may, me()?.blocked ? 'blocked for now' : '');
  watch(['users'], () => rights.show(me()?.blocked ? 'blocked' : may));
  const own = settings.rights.admin
    ? []
    : [
        requestsCard(false),
        batchesCard(false),
        overridesCard(false),
        problemsCard(false),
        settingsCard()
      ];
  return {
    nodes: [
      tiles('Your usage', ...shown.map(([, tile]) => tile), rights),
      budgets.node,
      ...own.map(one => one.node)
    ],
    tick: () => own.forEach(one => one.tick())
  };
}

function factsOf(limits) {
  return Object.entries(limits).map(([name, value]) =>
    el(
      'div',
      {},
      el('dt', {}, LIMITS[name] ?? 'Models'),
      el('dd', {}, Array.isArray(value) ? value.join(', ').slice(0, 500) : count(value))
    )
  );
}
