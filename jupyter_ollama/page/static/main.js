// The page: its sections by the rights of the user, the state of the server, the connection.

import { attempt, keepToken, send, settings } from './api.js';
import { connectSection } from './connect.js';
import { ask } from './dialog.js';
import { button, el, write } from './dom.js';
import { overridesCard } from './limits.js';
import { mine } from './mine.js';
import { modelsCard } from './models.js';
import { overview } from './overview.js';
import { batchesCard } from './requests.js';
import { server, watch } from './store.js';
import { connect, start } from './stream.js';
import { groupsCard, usersCard } from './users.js';

const { admin, run } = settings.rights;

const cards = (...made) => ({
  nodes: made.map(one => one.node),
  tick: () => made.forEach(one => one.tick())
});

const SECTIONS = [
  admin && ['overview', 'Overview', overview],
  admin && ['users', 'Users', () => cards(usersCard(), groupsCard(), overridesCard(true))],
  admin && ['batches', 'Batches', () => cards(batchesCard(true))],
  ['mine', 'My usage', mine],
  !admin && ['models', 'Models', () => cards(modelsCard())],
  run && ['connect', 'Connect', connectSection]
].filter(Boolean);

const tabs = document.getElementById('tabs');
const main = document.getElementById('main');
const sections = SECTIONS.map(([id, label, make]) => {
  const section = make();
  const tab = el(
    'button',
    { type: 'button', role: 'tab', id: `tab-${id}`, 'aria-controls': `panel-${id}` },
    label
  );
  const panel = el(
    'div',
    { role: 'tabpanel', id: `panel-${id}`, 'aria-labelledby': `tab-${id}`, class: 'panel' },
    ...section.nodes
  );
  tab.addEventListener('click', () => choose(id));
  tabs.append(tab);
  main.append(panel);
  return { id, tab, panel, tick: section.tick };
});

function choose(id, focus = false) {
  const chosen = sections.find(one => one.id === id) ?? sections[0];
  for (const one of sections) {
    const isChosen = one === chosen;
    one.panel.hidden = !isChosen;
    one.tab.setAttribute('aria-selected', String(isChosen));
    one.tab.tabIndex = isChosen ? 0 : -1;
  }
  if (focus) {
    chosen.tab.focus();
  }
  history.replaceState(null, '', `#${chosen.id}`);
}

tabs.addEventListener('keydown', event => {
  const at = sections.findIndex(one => one.tab === document.activeElement);
  const last = sections.length - 1;
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
  if (at >= 0 && next !== undefined) {
    event.preventDefault();
    choose(sections[(next + sections.length) % sections.length].id, true);
  }
});

const state = document.getElementById('state');
const notice = el('div', { class: 'notice', role: 'alert', hidden: true });
main.prepend(notice);

function showState(kind, reason) {
  const texts = { lost: 'Reconnecting…', refused: 'No access' };
  const text = texts[kind] ?? (server().draining ? 'Draining' : 'Live');
  write(state, text);
  state.className = `pill ${kind === 'live' ? (server().draining ? 'draining' : 'live') : 'refused'}`;
  if (kind === 'refused') {
    const action = settings.token
      ? button('Enter the token', enterToken)
      : el('a', { class: 'button', href: location.pathname }, 'Load the page again');
    notice.replaceChildren(el('span', {}, `Your access has ended: ${reason}`), action);
  } else if (kind === 'lost') {
    notice.replaceChildren(
      el('span', {}, `The connection is lost, the figures are old. ${reason}`)
    );
  }
  notice.hidden = kind === 'live';
}

async function enterToken() {
  const input = el('input', {
    name: 'token',
    type: 'password',
    required: true,
    autocomplete: 'off'
  });
  const fields = [{ label: 'Access token', input, hint: 'It stays in this tab.' }];
  const answer = await ask({ title: 'This server needs a token', fields, action: 'Continue' });
  if (answer) {
    keepToken(answer.token);
    connect();
  }
}

async function drain() {
  if (server().draining) {
    await attempt('The server takes requests again', () => send('PUT', '/admin/resume'));
    return;
  }
  const text = 'New requests are refused; those that run or wait go on.';
  if (await ask({ title: 'Drain the server?', text, action: 'Drain', danger: true })) {
    await attempt('The server is being drained', () => send('PUT', '/admin/drain'));
  }
}

if (admin) {
  const toggle = button('Drain', drain, { id: 'drain' });
  document.getElementById('actions').append(toggle);
  watch(['server'], () => write(toggle, server().draining ? 'Resume' : 'Drain'));
}
watch(['server'], () => showState('live', ''));
if (settings.logout) {
  const logout = document.getElementById('logout');
  logout.href = settings.logout;
  logout.hidden = false;
}
choose(location.hash.slice(1));
setInterval(() => document.hidden || sections.forEach(one => one.panel.hidden || one.tick()), 1000);
start(showState);
