import type { IStateDB } from '@jupyterlab/statedb';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyJSONObject } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import { OllamaError } from '../../ndjson';
import type { Chats } from './chats';
import { ChatKeeper, type IKept } from './keeper';
import { readTurns } from './record';

export interface IKeepOptions {
  chats: Chats;
  api: IKept;
  /** The part of the panel that this needs. */
  panel: {
    /** Emitted when the panel or its list of conversations is shown. */
    readonly listed: ISignal<unknown, unknown>;
    edit(change: { notice: string }): void;
  };
  /** The state of the browser tab; it has the conversation that the tab shows. */
  state: IStateDB | null;
  key: string;
  trans: TranslationBundle;
}

/**
 * Keep the conversations on the server, and the shown one across reloads of the page.
 *
 * Returns a function that reads them at its first call, and resolves when they are listed.
 */
export function keepChats(options: IKeepOptions): () => Promise<void> {
  const { chats, api, panel, state, key, trans } = options;
  const keeper = new ChatKeeper(chats, api, {
    onCopied: chat =>
      panel.edit({
        notice: trans.__('Another tab has changed “%1”. This one goes on as a copy.', chat.name)
      }),
    onFailed: error => {
      // The panel itself says that the user may not run models, or that the server has none.
      if (!(error instanceof OllamaError && [403, 404].includes(error.status))) {
        panel.edit({ notice: trans.__('The conversations cannot be kept: %1', error.message) });
      }
    }
  });
  const restore = async () => {
    const [saved] = await Promise.all([state?.fetch(key).catch(() => undefined), keeper.load()]);
    show(chats, (saved ?? {}) as ReadonlyJSONObject);
    let shown = '';
    const remember = () => {
      const { id, isEmpty, model } = chats.current;
      const now = { current: isEmpty ? '' : id, model };
      if (JSON.stringify(now) !== shown) {
        shown = JSON.stringify(now);
        void state?.save(key, now).catch(() => undefined);
      }
    };
    remember();
    chats.changed.connect(remember);
  };
  let first: Promise<void> | undefined;
  const loaded = () => (first ??= restore());
  panel.listed.connect(() => (first ? void keeper.load() : void loaded()));
  return loaded;
}

/** Show what the tab has shown before, unless a question was asked meanwhile. */
function show(chats: Chats, saved: ReadonlyJSONObject): void {
  const { current, model, turns } = saved;
  if (!chats.current.isEmpty) {
    return;
  }
  const known = typeof current === 'string' ? chats.get(current) : undefined;
  // Before version 0.2 the tab had the only conversation itself.
  const old = readTurns(turns);
  if (known) {
    chats.open(known);
  } else if (old.length) {
    chats.current.conversation.reset(old);
  }
  if (!known && typeof model === 'string') {
    chats.choose(chats.current, model);
  }
}
