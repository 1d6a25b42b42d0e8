// What an administrator sees first: the load, the models, the queue, errors, and settings.

import { card, el, write } from './dom.js';
import { bytes, count } from './format.js';
import { modelsCard } from './models.js';
import { problemsCard, requestsCard } from './requests.js';
import { server, table, watch } from './store.js';
import { Tile, tiles } from './tiles.js';
import { upstreamsCard } from './upstreams.js';

/** The sections, in their order. A further one is a function that returns {node, tick}. */
const SECTIONS = [
  modelsCard,
  upstreamsCard,
  () => requestsCard(true),
  () => problemsCard(true),
  settingsCard
];

const SHARING = {
  system:
    'Whole system prompts that several users have sent are shared, nothing else. ' +
    'A class with one system prompt is as fast as with all prefixes shared.',
  account:
    'Nothing is shared between users. ' +
    'A class of 16 with one system prompt computes ten times as many prompt tokens.',
  group: 'Users in the same groups share computed prefixes of prompts.',
  all: 'All users share computed prefixes. Times reveal what others have sent.'
};
const AUDIT = {
  no: 'There is no audit log.',
  requests: 'The audit log has users, models and counts, but no texts.',
  text: 'The audit log keeps the texts of requests. Users are informed.'
};

export function overview() {
  const running = new Tile('Running', { line: true });
  const waiting = new Tile('Waiting', { line: true });
  const rate = new Tile('Tokens a second', { line: true });
  const memory = new Tile('Memory of models');
  const users = new Tile('Users, 24 hours');
  const tokens = new Tile('Tokens, 24 hours');
  const shown = () => {
    const state = server();
    running.show(count(state.running));
    waiting.show(count(state.waiting));
    rate.show(state.rate ? state.rate.toFixed(1) : '0');
    const models = [...table('models').values()];
    const loaded = models.filter(one => one.state === 'loaded');
    const size = loaded.reduce((sum, one) => sum + (one.held ?? one.size ?? 0), 0);
    const free = [...table('devices').values()].map(one => `${one.name}: ${bytes(one.free)} free`);
    memory.show(
      bytes(size),
      free.join(', ').slice(0, 80) || `${loaded.length} of ${models.length} loaded`
    );
    const all = [...table('users').values()];
    users.show(count(all.filter(one => one.day).length), `${count(all.length)} known`);
    const everyone = table('groups').get('*');
    tokens.show(count(everyone?.day ?? 0), `${count(everyone?.week ?? 0)} in 7 days`);
  };
  watch(['server', 'models', 'devices', 'users', 'groups'], shown);
  const sections = SECTIONS.map(make => make());
  const figures = tiles('Now', running, waiting, rate, memory, users, tokens);
  return {
    nodes: [figures, ...sections.map(one => one.node)],
    tick: () => {
      running.add(server().running ?? 0);
      waiting.add(server().waiting ?? 0);
      rate.add(server().rate ?? 0);
      sections.forEach(one => one.tick());
    }
  };
}

export function settingsCard() {
  const lines = new Map();
  const list = el('dl', { class: 'facts' });
  for (const label of [
    'Isolation of prompts',
    'Audit log',
    'Record of usage',
    'Other hosts',
    'Version'
  ]) {
    const value = el('dd');
    lines.set(label, value);
    list.append(el('div', {}, el('dt', {}, label), value));
  }
  watch(['server'], () => {
    const state = server();
    write(
      lines.get('Isolation of prompts'),
      `${state.prefix_sharing}. ${SHARING[state.prefix_sharing]}`
    );
    write(lines.get('Audit log'), AUDIT[state.audited] ?? '');
    const kept = 'Usage is recorded: users, models and numbers of tokens.';
    const lost =
      'Usage is not recorded. Figures and budgets begin anew when the server is started.';
    write(lines.get('Record of usage'), state.recorded ? kept : lost);
    const { hosts } = state;
    const others = hosts
      ? `Budgets are counted with ${hosts.hosts} hosts (${hosts.state}).`
      : 'None.';
    write(lines.get('Other hosts'), others);
    write(lines.get('Version'), `jupyter-ollama ${state.version}`);
  });
  return { node: card('Settings', list).node, tick: () => undefined };
}
