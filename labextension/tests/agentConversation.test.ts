import { describe, expect, it } from 'vitest';

import type { ChatRequest } from '../src/api';
import type { IWork, Mode, WorkEvent } from '../src/agent/work';
import { Conversation } from '../src/chat/conversation';
import { readRecord, writeRecord } from '../src/chat/history/record';
import { Chat } from '../src/chat/history/chat';

const WORK: IWork = {
  id: 'w',
  mode: 'agent',
  notebook: 'n.ipynb',
  said: [],
  steps: [],
  bounds: { steps: 3, tokens: 100, minutes: 1 },
  use: { steps: 0, tokens: 0, seconds: 0 }
};
const STEP = { id: 0, round: 0, tool: 'read_notebook', arguments: {} } as const;

/** Return a conversation whose agent reads the notebook once and answers. */
function conversationWith(events: readonly WorkEvent[]) {
  const asked: [Mode, ChatRequest][] = [];
  async function* chat(mode: Mode, request: ChatRequest): AsyncGenerator<WorkEvent> {
    asked.push([mode, request]);
    yield* events;
  }
  const plain = (request: ChatRequest) => chat('ask', request);
  return { asked, conversation: new Conversation({ chat: plain }, { chat }) };
}

describe('a conversation with an agent', () => {
  const said = (content: string): WorkEvent => ({ message: { role: 'assistant', content } });
  const events: readonly WorkEvent[] = [
    { work: WORK },
    said('I look.'),
    { work: { ...WORK, said: ['I look.'], steps: [{ ...STEP, state: 'runs' }] } },
    { work: { ...WORK, said: ['I look.'], steps: [{ ...STEP, state: 'done', result: 'empty' }] } },
    said('It is empty.'),
    {
      work: {
        ...WORK,
        said: ['I look.'],
        steps: [{ ...STEP, state: 'done', result: 'empty' }],
        end: 'done'
      }
    }
  ];

  it('keeps the steps beside the answer, and sends them with the next question', async () => {
    const { asked, conversation } = conversationWith(events);
    conversation.mode = 'agent';
    await conversation.ask('m', 'What is in it?');
    const [, turn] = conversation.turns;
    expect(turn).toMatchObject({ content: 'It is empty.', work: { end: 'done' } });
    expect(turn).not.toHaveProperty('isCutOff');
    conversation.mode = 'ask';
    await conversation.ask('m', 'Sure?');
    expect(asked.map(([mode]) => mode)).toEqual(['agent', 'ask']);
    expect(asked[1][1].messages.map(one => [one.role, one.content])).toEqual([
      ['user', 'What is in it?'],
      ['assistant', 'I look.'],
      ['tool', 'empty'],
      ['assistant', 'It is empty.'],
      ['user', 'Sure?']
    ]);
  });

  it('is saved with its mode and its steps', async () => {
    const { conversation } = conversationWith(events);
    conversation.mode = 'edit';
    await conversation.ask('m', 'Hi');
    const { record } = new Chat(conversation);
    const read = readRecord(JSON.parse(writeRecord(record)));
    expect(read?.settings.mode).toBe('edit');
    expect(read?.turns[1].work?.steps[0]).toMatchObject({ tool: 'read_notebook', result: 'empty' });
    conversation.mode = 'ask';
    const asks = readRecord(JSON.parse(writeRecord(new Chat(conversation).record)));
    expect(asks?.settings).not.toHaveProperty('mode');
  });
});
