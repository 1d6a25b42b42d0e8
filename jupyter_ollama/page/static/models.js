// Loaded models and models at rest, and what may be done to them.

import { attempt, eachLine, send, settings, toast } from './api.js';
import { ask } from './dialog.js';
import { button, card, el, nameOf } from './dom.js';
import { bytes, count, seconds, serverTime } from './format.js';
import { server, table, watch } from './store.js';
import { Table } from './table.js';

const ORDER = { loaded: 4, loading: 3, unloading: 2, rest: 1, upstream: 0 };
const STATES = {
  loaded: 'loaded',
  loading: 'loading',
  unloading: 'unloading',
  rest: 'at rest',
  upstream: 'upstream'
};

function keep(model, keep_alive) {
  const path = model.embeds ? '/api/embed' : '/api/generate';
  const given = keep_alive === undefined ? {} : { keep_alive };
  return send('POST', path, { model: model.name, stream: false, ...given });
}

const load = model => attempt(`${model.name} is loaded`, () => keep(model));
const pin = model => attempt(`${model.name} stays loaded`, () => keep(model, -1));
const unpin = model =>
  attempt(`${model.name} is unloaded when it is idle`, () => keep(model, server().keep_alive));

async function unload(model) {
  const busy = model.running || model.waiting;
  const text = busy ? 'Its requests end first.' : 'The next request loads it again.';
  const title = `Unload ${model.name.slice(0, 80)}?`;
  if (await ask({ title, text, action: 'Unload', danger: true })) {
    const body = { model: model.name, keep_alive: 0, stream: false };
    await attempt(`${model.name} is unloaded`, () => send('POST', '/api/generate', body));
  }
}

async function pull() {
  const input = el('input', { name: 'model', required: true, placeholder: 'gemma3:4b' });
  const hint = 'A name of the registry, or of a GGUF repository.';
  const fields = [{ label: 'Model', input, hint }];
  const answer = await ask({ title: 'Pull a model', fields, action: 'Pull' });
  if (!answer) {
    return;
  }
  const shown = toast(`Pulling ${answer.model}…`);
  const line = shown.firstChild;
  try {
    const response = await send('POST', '/api/pull', { model: answer.model });
    await eachLine(response, step => {
      if (step.error) {
        throw new Error(step.error);
      }
      const part = step.total ? ` ${Math.floor((100 * (step.completed ?? 0)) / step.total)} %` : '';
      line.textContent = `${answer.model}: ${step.status}${part}`;
      document.getElementById('toasts').append(shown);
    });
    shown.remove();
    toast(`${answer.model} is installed`);
  } catch (error) {
    shown.remove();
    toast(`${answer.model}: ${error.message}`, true);
  }
}

function actions(model) {
  const label = `${model.name.slice(0, 80)}`;
  const made = (text, action) =>
    button(text, () => action(model), { 'aria-label': `${text} ${label}` });
  if (model.state === 'rest') {
    return [made('Load', load), made('Pin', pin)];
  }
  if (model.state !== 'loaded' || model.by_setting) {
    return [];
  }
  return [model.pinned ? made('Unpin', unpin) : made('Pin', pin), made('Unload', unload)];
}

function memory(model) {
  if (model.state === 'upstream') {
    return '';
  }
  if (model.state === 'rest' || !model.size) {
    return bytes(model.file);
  }
  return model.vram ? `${bytes(model.size)}, ${bytes(model.vram)} GPU` : bytes(model.size);
}

function stay(model) {
  if (model.by_setting) {
    return 'pinned by setting';
  }
  if (model.pinned) {
    return 'pinned';
  }
  return model.expires ? `idle, ${seconds(Date.parse(model.expires) / 1000 - serverTime())}` : '';
}

const number = { class: 'number' };

export function modelsCard() {
  const all = settings.rights.admin;
  const columns = [
    {
      id: 'name',
      label: 'Model',
      first: 'ascending',
      value: model => model.name,
      sign: model => model.name,
      show: model => nameOf(model.name)
    },
    {
      id: 'state',
      label: 'State',
      value: model => ORDER[model.state] * 1e15 + (model.size ?? model.file ?? 0),
      sign: model => model.state,
      show: model => el('span', { class: `pill ${model.state}` }, STATES[model.state])
    },
    {
      id: 'memory',
      label: 'Memory',
      class: 'number mid',
      value: m => m.size ?? m.file ?? 0,
      text: memory
    },
    {
      id: 'kind',
      label: 'Size',
      class: 'wide',
      text: model => [model.parameters, model.quantization].filter(Boolean).join(' ')
    }
  ];
  if (all) {
    columns.push(
      {
        id: 'rate',
        label: 'Tokens/s',
        ...number,
        value: model => model.rate ?? 0,
        text: model => (model.rate ? model.rate.toFixed(1) : '–')
      },
      {
        id: 'busy',
        label: 'Slots',
        class: 'number mid',
        value: model => model.running ?? 0,
        text: model => (model.slots ? `${model.running ?? 0} of ${model.slots}` : '–')
      },
      {
        id: 'wait',
        label: 'Waiting',
        class: 'number mid',
        value: m => m.waiting ?? 0,
        text: m => count(m.waiting ?? 0)
      },
      { id: 'stay', label: 'Until', class: 'wide', text: stay, ticks: true }
    );
  }
  if (settings.rights.manage) {
    const sign = model => `${model.state} ${model.pinned}`;
    columns.push({
      id: 'actions',
      label: 'Actions',
      hidden: true,
      class: 'actions',
      sign,
      show: actions
    });
  }
  const grid = new Table({
    label: 'Models',
    columns,
    sort: { id: 'state', order: 'descending' },
    empty: 'No model is installed.',
    search: model => model.name
  });
  const { node, tools } = card('Models', grid.node);
  tools.append(grid.searchBox('Search models'));
  if (settings.rights.manage) {
    tools.append(button('Pull a model', pull, { class: 'primary' }));
  }
  watch(['models'], () => grid.update(table('models')));
  return { node, tick: () => grid.tick() };
}
