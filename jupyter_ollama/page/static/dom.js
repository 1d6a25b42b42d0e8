// Elements made from values. Text is only ever set as text: nothing here parses HTML.

const SVG = 'http://www.w3.org/2000/svg';

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  set(node, props);
  node.append(...children.flat().filter(one => one !== null && one !== undefined));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function set(node, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) {
      continue;
    } else if (name.startsWith('on')) {
      node.addEventListener(name.slice(2), value);
    } else if (name === 'class') {
      node.className = value;
    } else if (name in node && !name.startsWith('aria')) {
      node[name] = value;
    } else {
      node.setAttribute(name, value === true ? '' : value);
    }
  }
}

const SHOWN = 300;

/** A name that a user has chosen: isolated from the direction of the text around it, cut off if
 * it is long. */
export function nameOf(text) {
  const node = el('bdi', { dir: 'auto', class: 'name' }, text.slice(0, SHOWN));
  if (text.length > 24) {
    node.title = text.slice(0, SHOWN);
  }
  return node;
}

export function button(label, action, props = {}) {
  return el('button', { type: 'button', onclick: action, ...props }, label);
}

/** Write a text only where it differs, so that the browser lays out nothing anew. */
export function write(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

export function card(title, ...content) {
  const heading = el('h2', {}, title);
  const tools = el('div', { class: 'tools' });
  const node = el(
    'section',
    { class: 'card', 'aria-label': title },
    el('div', { class: 'card-head' }, heading, tools),
    ...content
  );
  return { node, tools };
}
