// The tables that the server keeps up to date, and who wants to know of changes.

const tables = new Map();
const watchers = new Map();
const none = new Map();

/** Rows by key. */
export function table(name) {
  return tables.get(name) ?? none;
}

export function server() {
  return table('server').get('server') ?? {};
}

/** Call a function when one of some tables has changed. */
export function watch(names, changed) {
  for (const name of names) {
    watchers.set(name, [...(watchers.get(name) ?? []), changed]);
  }
}

function wake(names) {
  const called = new Set(names.flatMap(name => watchers.get(name) ?? []));
  for (const changed of called) {
    changed();
  }
}

export function replaceAll(all) {
  const names = new Set([...tables.keys(), ...Object.keys(all)]);
  for (const name of names) {
    tables.set(name, new Map(Object.entries(all[name] ?? {})));
  }
  wake([...names]);
}

export function change(changes) {
  for (const [name, { rows = {}, gone = [] }] of Object.entries(changes)) {
    const rowsByKey = tables.get(name) ?? new Map();
    tables.set(name, rowsByKey);
    for (const [key, row] of Object.entries(rows)) {
      rowsByKey.set(key, row);
    }
    for (const key of gone) {
      rowsByKey.delete(key);
    }
  }
  wake(Object.keys(changes));
}
