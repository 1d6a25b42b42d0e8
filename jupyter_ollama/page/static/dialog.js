// Questions to the user, in dialogs of the browser.

import { button, el } from './dom.js';

let numbers = 0;

/** Ask, and resolve to the values of the fields by name, or to null. */
export function ask({ title, text, fields = [], action, danger = false }) {
  return new Promise(resolve => {
    const id = `dialog-${numbers++}`;
    const cancel = button('Cancel', () => node.close());
    const go = el('button', { class: danger ? 'danger' : 'primary', type: 'submit' }, action);
    const form = el(
      'form',
      { method: 'dialog' },
      el('h2', { id }, title),
      text && el('p', {}, text),
      ...fields.map(labelled),
      el('div', { class: 'dialog-actions' }, cancel, go)
    );
    const node = el('dialog', { 'aria-labelledby': id }, form);
    let answer = null;
    form.addEventListener('submit', () => {
      answer = Object.fromEntries(fields.map(({ input }) => [input.name, input.value]));
    });
    node.addEventListener('close', () => {
      node.remove();
      resolve(answer);
    });
    document.body.append(node);
    node.showModal();
  });
}

/** A field with its label, and a hint that is read after it. */
export function labelled({ label, input, hint }) {
  input.id = `field-${numbers++}`;
  const parts = [el('label', { htmlFor: input.id }, label), input];
  if (hint) {
    const id = `${input.id}-hint`;
    input.setAttribute('aria-describedby', id);
    parts.push(el('span', { class: 'hint', id }, hint));
  }
  return el('div', { class: 'field' }, ...parts);
}
