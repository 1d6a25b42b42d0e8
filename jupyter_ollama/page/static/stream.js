// The one connection that keeps the page up to date. A hidden tab has none.

import { eachLine, headers, reasonOf, settings } from './api.js';
import { setServerTime } from './format.js';
import * as store from './store.js';

const LONGEST_WAIT = 15_000;

let running = null;
let waiting = null;
let failures = 0;
let show = () => undefined;

/** Begin. ``onState`` gets "live", "lost" or "refused" and a reason. */
export function start(onState) {
  show = onState;
  document.addEventListener('visibilitychange', () => (document.hidden ? stop() : connect()));
  window.addEventListener('pagehide', stop);
  window.addEventListener('pageshow', () => document.hidden || connect());
  if (!document.hidden) {
    connect();
  }
}

export function stop() {
  clearTimeout(waiting);
  waiting = null;
  running?.abort();
  running = null;
}

export async function connect() {
  clearTimeout(waiting);
  waiting = null;
  if (running) {
    return;
  }
  const mine = (running = new AbortController());
  try {
    const options = { headers: headers(), cache: 'no-store', signal: mine.signal };
    const response = await fetch(`${settings.base}/page/changes`, options);
    if (response.status === 401 || response.status === 403) {
      show('refused', await reasonOf(response));
      running = null;
      return;
    }
    if (!response.ok) {
      throw new Error(await reasonOf(response));
    }
    await eachLine(response, read);
    ended(mine, 0, '');
  } catch (error) {
    ended(mine, Math.min(LONGEST_WAIT, 1000 * 2 ** failures++), error.message);
  }
}

function ended(mine, wait, reason) {
  if (running !== mine) {
    return; // the tab was hidden
  }
  running = null;
  if (wait) {
    show('lost', reason);
  }
  waiting = setTimeout(connect, wait);
}

function read(line) {
  if (line.error) {
    throw new Error(line.error);
  }
  if (line.all) {
    setServerTime(line.now);
    store.replaceAll(line.all);
  } else if (line.changes) {
    store.change(line.changes);
  }
  failures = 0;
  show('live', '');
}
