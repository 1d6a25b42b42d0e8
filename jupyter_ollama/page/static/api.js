// Calls of the API, with the proof that they come from this page (XSRF).

import { el } from './dom.js';

export const settings = JSON.parse(document.body.dataset.settings);

const KEPT = 'jupyter-ollama-token';

/** The headers of each call. A server with an access token asks for it once in each tab. */
export function headers() {
  const found = { Accept: 'application/json' };
  if (settings.xsrf) {
    found['X-XSRFToken'] = settings.xsrf;
  }
  const token = sessionStorage.getItem(KEPT);
  if (settings.token && token) {
    found.Authorization = `Bearer ${token}`;
  }
  return found;
}

export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

export async function send(method, path, body) {
  const options = { method, headers: headers(), cache: 'no-store' };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers['Content-Type'] = 'application/json';
  }
  const response = await fetch(settings.base + path, options);
  if (!response.ok) {
    throw new Error(await reasonOf(response));
  }
  return response;
}

export async function reasonOf(response) {
  try {
    const found = await response.json();
    const error = found.error ?? found.message;
    return error.message ?? error;
  } catch {
    return `the server answered ${response.status}`;
  }
}

/** Do something and say how it went. Return whether it worked. */
export async function attempt(done, action) {
  try {
    await action();
    toast(done);
    return true;
  } catch (error) {
    toast(error.message, true);
    return false;
  }
}

const SHOWN_MS = 6000;

export function toast(text, failed = false) {
  const close = el('button', { type: 'button', class: 'quiet', 'aria-label': 'Dismiss' }, '×');
  const node = el('div', { class: failed ? 'toast failed' : 'toast' }, el('span', {}, text), close);
  close.addEventListener('click', () => node.remove());
  document.getElementById('toasts').append(node);
  if (!failed) {
    setTimeout(() => node.remove(), SHOWN_MS);
  }
  return node;
}

/** Pass on each line of an answer. */
export async function eachLine(response, read) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) {
      read(JSON.parse(line));
    }
  }
}
