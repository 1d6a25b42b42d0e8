import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { ChatEvent } from '../src/api';
import { Conversation, type ITurn } from '../src/chat/conversation';
import { Chats } from '../src/chat/history/chats';
import { ChatKeeper } from '../src/chat/history/keeper';
import { type IRecord, readRecord, readTurns, writeRecord } from '../src/chat/history/record';
import { OllamaError } from '../src/ndjson';

const ID = 'c0ffee00-0000-4000-8000-000000000001';

const record: IRecord = {
  version: 1,
  id: ID,
  revision: 3,
  name: 'Fish',
  model: 'm',
  changed: 5,
  settings: { temperature: 0.5 },
  turns: [
    { role: 'user', content: 'Which fish?' },
    { role: 'assistant', content: 'A carp.', model: 'm', usage: { read: 4 } }
  ]
};

/** Conversations whose model answers with the question in capital letters. */
function create(): Chats {
  const chat = async function* ({ messages }: { messages: { content: string }[] }) {
    const content = messages[messages.length - 1].content.toUpperCase();
    yield { message: { role: 'assistant', content }, done: true } as ChatEvent;
  };
  return new Chats(() => new Conversation({ chat: chat as never }));
}

/** A server that keeps conversations as the real one does. */
class Server {
  readonly kept = new Map<string, IRecord>();
  isAway = false;

  async conversations(): Promise<unknown[]> {
    this.answer();
    return [...this.kept.values()];
  }

  async saveConversation(id: string, json: string): Promise<void> {
    this.answer();
    const saved = JSON.parse(json) as IRecord;
    const revision = this.kept.get(id)?.revision;
    if (revision !== undefined && revision !== saved.revision - 1) {
      throw new OllamaError(409, 'another page has changed the conversation');
    }
    this.kept.set(id, saved);
  }

  async deleteConversation(id: string): Promise<void> {
    this.answer();
    this.kept.delete(id);
  }

  private answer(): void {
    if (this.isAway) {
      throw new TypeError('Failed to fetch');
    }
  }
}

describe('Chats', () => {
  it('names conversations after their questions, finds them and keeps the newest first', async () => {
    const chats = create();
    await chats.current.conversation.ask('m', 'Which  fish\nis this?');
    const first = chats.current;
    chats.start();
    chats.start();
    expect(chats.all).toEqual([first]);
    await chats.current.conversation.ask('m', 'What is a very long question '.repeat(5));
    const second = chats.current;
    [first.changed, second.changed] = [1, 2];
    expect(chats.all).toEqual([second, first]);
    expect(first.name).toBe('Which fish is this?');
    expect(second.name).toBe('What is a very long question What is a very long question…');
    chats.rename(first, 'Carp');
    expect(chats.find('FISH which')).toEqual([first]);
    expect(chats.find('carp')).toEqual([first]);
    expect(chats.find('carp long')).toEqual([]);
    chats.rename(first, '');
    expect(first.name).toBe('Which fish is this?');
  });

  it('lets an answer go on while another conversation is shown', async () => {
    const chats = create();
    const asking = chats.current.conversation.ask('m', 'One');
    const first = chats.current;
    chats.start();
    expect(first.conversation.isRunning).toBe(true);
    await asking;
    chats.open(first);
    expect(chats.current.conversation.turns[1].content).toBe('ONE');
  });

  it('restores the conversation that was deleted last', async () => {
    const chats = create();
    await chats.current.conversation.ask('m', 'One');
    const first = chats.current;
    chats.remove(first);
    expect([chats.all.length, chats.current.isEmpty, chats.removed]).toEqual([0, true, first]);
    chats.restore();
    expect([chats.all, chats.removed]).toEqual([[first], null]);
  });
});

describe('records', () => {
  it('is read as it was written', () => {
    expect(readRecord(JSON.parse(writeRecord(record)))).toEqual(record);
  });

  it.each([
    null,
    3,
    'text',
    [],
    {},
    { ...record, version: 0 },
    { ...record, version: 2 },
    { ...record, id: '../../etc/passwd' },
    { ...record, id: 7 }
  ])('refuses %j', value => {
    expect(readRecord(value)).toBeUndefined();
  });

  it('leaves out what has another shape', () => {
    const turns = [
      null,
      'text',
      { role: 'system', content: 'x' },
      { role: 'user', content: { toString: 'x' } },
      {
        role: 'user',
        content: 'kept',
        attachments: [
          { kind: 'html', name: 'a', content: '' },
          { kind: 'text', name: 'b' },
          { kind: 'text', name: 'c', content: 'c', source: { path: 3, url: 'http://x/' } },
          7
        ],
        onclick: 'x'
      },
      {
        role: 'assistant',
        content: 'kept',
        model: 3,
        error: {},
        stopped: 'yes',
        toolCalls: [{ function: {} }, null, { function: { name: 'f' } }],
        usage: { read: 'x', written: -1, cached: 2, perSecond: Infinity }
      }
    ];
    expect(readTurns(turns)).toEqual([
      {
        role: 'user',
        content: 'kept',
        attachments: [{ kind: 'text', name: 'c', content: 'c', source: { url: 'http://x/' } }]
      },
      {
        role: 'assistant',
        content: 'kept',
        toolCalls: [{ function: { name: 'f' } }],
        usage: { cached: 2 }
      }
    ]);
    expect(readTurns({ length: 3 })).toEqual([]);
    expect(
      readRecord({
        ...record,
        name: ` a\n${'b'.repeat(300)}`,
        changed: 'x',
        settings: { system: 4, temperature: 3, context: 1.5 }
      })
    ).toMatchObject({ name: `a ${'b'.repeat(98)}`, changed: 0, settings: {} });
  });

  it('leaves out large images, then all attachments, and refuses a longer text', () => {
    const turn = (length: number): ITurn => ({
      role: 'user',
      content: 'Why?',
      attachments: [
        { kind: 'image', name: 'small', content: 'a'.repeat(50) },
        { kind: 'image', name: 'large', content: 'a'.repeat(200_000) },
        { kind: 'text', name: 'text', content: 'a'.repeat(length) }
      ]
    });
    const kept = (turns: ITurn[]) =>
      readRecord(JSON.parse(writeRecord({ ...record, turns })))?.turns[0].attachments?.map(
        one => !one.isLeftOut
      );
    expect(kept([turn(20)])).toEqual([true, false, true]);
    expect(kept([turn(1_100_000)])).toEqual([false, false, false]);
    const long = [{ role: 'user', content: 'ü'.repeat(600_000) }] as const;
    expect(() => writeRecord({ ...record, turns: long })).toThrow(RangeError);
  });
});

describe('ChatKeeper', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function page(server: Server) {
    const chats = create();
    const events: string[] = [];
    const keeper = new ChatKeeper(chats, server, {
      onCopied: chat => events.push(`copied ${chat.name}`),
      onFailed: error => events.push(error.message)
    });
    return { chats, events, keeper };
  }

  it('shows a conversation in another tab, and its changes and its end', async () => {
    const server = new Server();
    const [one, two] = [page(server), page(server)];
    await one.chats.current.conversation.ask('m', 'One');
    await one.keeper.save();
    await two.keeper.load();
    expect(two.chats.all.map(chat => chat.name)).toEqual(['One']);
    one.chats.rename(one.chats.current, 'Uno');
    one.chats.current.conversation.configure({ system: 'Be brief.' });
    await one.keeper.save();
    await two.keeper.load();
    const [copy] = two.chats.all;
    expect([copy.name, copy.conversation.settings]).toEqual(['Uno', { system: 'Be brief.' }]);
    // What was read is not saved again.
    await two.keeper.save();
    expect(server.kept.get(copy.id)?.revision).toBe(copy.revision);
    one.chats.remove(one.chats.current);
    await one.keeper.load();
    await two.keeper.load();
    expect(two.chats.all).toEqual([]);
  });

  it('loses neither side where two tabs go on with one conversation', async () => {
    const server = new Server();
    const [one, two] = [page(server), page(server)];
    await one.chats.current.conversation.ask('m', 'One');
    await one.keeper.save();
    await two.keeper.load();
    two.chats.open(two.chats.all[0]);
    await one.chats.current.conversation.ask('m', 'Left');
    await two.chats.current.conversation.ask('m', 'Right');
    await one.keeper.save();
    await two.keeper.save();
    expect(two.events).toEqual(['copied One']);
    const lasts = [...server.kept.values()].map(kept => kept.turns[2].content);
    expect(lasts.sort()).toEqual(['Left', 'Right']);
    expect(two.chats.all).toHaveLength(2);
    expect(two.chats.current.conversation.turns[2].content).toBe('Right');
  });

  it('restores a deleted conversation on the server, too', async () => {
    const server = new Server();
    const { chats, keeper } = page(server);
    await chats.current.conversation.ask('m', 'One');
    await keeper.save();
    chats.remove(chats.current);
    await keeper.load();
    expect(server.kept.size).toBe(0);
    chats.restore();
    await keeper.save();
    expect(server.kept.size).toBe(1);
  });

  it('reports a server that is away once, and saves when it is back', async () => {
    const server = new Server();
    const { chats, events, keeper } = page(server);
    server.isAway = true;
    await chats.current.conversation.ask('m', 'One');
    await keeper.save();
    await keeper.save();
    expect(events).toEqual(['Failed to fetch']);
    server.isAway = false;
    await keeper.load();
    await keeper.save();
    expect(server.kept.get(chats.current.id)?.turns).toHaveLength(2);
  });

  it('saves a growing answer by itself', async () => {
    const server = new Server();
    const { chats } = page(server);
    await chats.current.conversation.ask('m', 'One');
    await vi.advanceTimersByTimeAsync(2000);
    expect(server.kept.get(chats.current.id)?.turns[1].content).toBe('ONE');
  });

  it('leaves what it cannot read on the server', async () => {
    const server = new Server();
    server.kept.set('later-version', { ...record, id: 'later-version', version: 2 });
    server.kept.set(ID, record);
    const { chats, keeper } = page(server);
    await keeper.load();
    await keeper.save();
    expect(chats.all.map(chat => chat.name)).toEqual(['Fish']);
    expect(server.kept.size).toBe(2);
  });
});
