// How to set clients up: texts to copy. A token that is typed in stays in this tab.

import { settings, toast } from './api.js';
import { labelled } from './dialog.js';
import { button, card, el } from './dom.js';
import { table, watch } from './store.js';

const PLACE = 'YOUR_TOKEN';
const NEEDS = 'Clients need the address, a token and the name of a model.';
const IN_NOTEBOOKS = 'In a notebook of this Hub the magics need none of it.';

export function connectSection() {
  const url = location.origin + settings.base;
  const token = el('input', {
    type: 'password',
    autocomplete: 'off',
    spellcheck: false,
    placeholder: PLACE,
    name: 'token'
  });
  const model = el('select', { name: 'model' });
  const fill = () => {
    for (const { client, code } of texts) {
      const values = { url, token: token.value.trim() || PLACE, model: model.value || 'MODEL' };
      code.textContent = client.text.replace(/\{(url|token|model)\}/g, (_, name) => values[name]);
    }
  };
  const texts = settings.clients.map(client => ({ client, code: el('code') }));
  const cards = texts.map(({ client, code }) => {
    const { node, tools } = card(
      client.name,
      el('pre', { tabIndex: 0, 'aria-label': client.name }, code)
    );
    tools.append(
      button('Copy', () => copy(code.textContent), { 'aria-label': `Copy for ${client.name}` })
    );
    return node;
  });
  token.addEventListener('input', fill);
  model.addEventListener('change', fill);
  watch(['models'], () => {
    const known = [...table('models').values()].sort((a, b) => a.embeds - b.embeds);
    const names = known.map(one => one.name);
    const before = model.value;
    if (names.join('\n') !== [...model.options].map(one => one.value).join('\n')) {
      model.replaceChildren(...names.map(value => el('option', { value }, value.slice(0, 100))));
      model.value = names.includes(before) ? before : (names[0] ?? '');
      fill();
    }
  });
  fill();
  const link = settings.tokens
    ? el('a', { class: 'button', href: settings.tokens }, 'Get a token')
    : null;
  const { node, tools } = card(
    'Connect a client',
    el('p', {}, settings.tokens ? `${NEEDS} ${IN_NOTEBOOKS}` : NEEDS),
    el(
      'form',
      { class: 'fields', onsubmit: event => event.preventDefault() },
      labelled({ label: 'Model', input: model }),
      labelled({ label: 'Token', input: token, hint: 'Shown below, sent nowhere.' })
    )
  );
  if (link) {
    tools.append(link);
  }
  return { nodes: [node, ...cards], tick: () => undefined };
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast('Copied');
  } catch {
    toast('The browser does not allow to copy: select the text', true);
  }
}
