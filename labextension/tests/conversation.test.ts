import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import type { ChatEvent, ChatRequest } from '../src/api';
import { Conversation, fenced, type ITurn, messageOf } from '../src/chat/conversation';
import { asMarkdown, asNotebook, partsOf } from '../src/chat/documents';
import { usageLine } from '../src/chat/usage';

const done: ChatEvent = { message: { role: 'assistant', content: '' }, done: true };
const text = (content: string): ChatEvent => ({ message: { role: 'assistant', content } });

function speaking(answer: (signal: AbortSignal) => AsyncGenerator<ChatEvent>) {
  const asked: ChatRequest[] = [];
  const chat = (request: ChatRequest, signal: AbortSignal) => {
    asked.push(request);
    return answer(signal);
  };
  return { asked, conversation: new Conversation({ chat }) };
}

async function* hello(): AsyncGenerator<ChatEvent> {
  yield { status: 'queued', position: 2 };
  yield { message: { role: 'assistant', content: '', thinking: 'Hm.' } };
  yield text('Hel');
  yield text('lo');
  yield done;
}

describe('Conversation', () => {
  it('appends an answer and sends no thinking back', async () => {
    const { asked, conversation } = speaking(hello);
    await conversation.ask('m', 'Hi');
    await conversation.ask('m', 'Again');
    expect(conversation.turns[1]).toEqual({
      role: 'assistant',
      content: 'Hello',
      thinking: 'Hm.',
      model: 'm',
      usage: { firstAfter: expect.any(Number) }
    });
    expect(asked[1].messages).toEqual([
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello' },
      { role: 'user', content: 'Again' }
    ]);
    expect(conversation.progress).toBeNull();
  });

  it('reports its progress until the first text', async () => {
    const seen: unknown[] = [];
    const { conversation } = speaking(async function* () {
      for (const event of [
        { status: 'queued', position: 3, reason: 'Slurm: Resources' },
        { status: 'queued', position: 2 },
        { status: 'loading' },
        { status: 'prompt', completed: 30, total: 120 },
        text('Hello')
      ] as ChatEvent[]) {
        yield event;
        seen.push(conversation.progress);
      }
    });
    const before = performance.now();
    await conversation.ask('m', 'Hi');
    expect(seen).toEqual([
      { status: 'queued', position: 3, reason: 'Slurm: Resources' },
      { status: 'queued', position: 2 },
      { status: 'loading' },
      { status: 'prompt', completed: 30, total: 120 },
      null
    ]);
    expect(conversation.since).toBeGreaterThanOrEqual(before);
  });

  it('regenerates the last answer', async () => {
    const { asked, conversation } = speaking(hello);
    await conversation.ask('m', 'Hi');
    await conversation.regenerate('other');
    expect(conversation.turns).toHaveLength(2);
    expect(conversation.turns[1].model).toBe('other');
    expect(asked[1].messages).toEqual([{ role: 'user', content: 'Hi' }]);
  });

  it('drops the turns after an edited question', async () => {
    const { conversation } = speaking(hello);
    const attachments = [{ kind: 'text', name: 'Cell', content: 'x' }] as const;
    await conversation.ask('m', 'One', attachments);
    await conversation.ask('m', 'Two');
    await conversation.edit('m', 0, 'Uno');
    expect(conversation.turns.map(turn => turn.content)).toEqual(['Uno', 'Hello']);
    expect(conversation.turns[0].attachments).toEqual(attachments);
  });

  it('keeps the text of a stopped answer', async () => {
    const { conversation } = speaking(async function* (signal) {
      yield text('Hel');
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason))
      );
    });
    const asking = conversation.ask('m', 'Hi');
    await new Promise(resolve => setTimeout(resolve, 5));
    expect(conversation.isRunning).toBe(true);
    conversation.stop();
    await asking;
    expect(conversation.isRunning).toBe(false);
    expect(conversation.turns[1]).toMatchObject({ content: 'Hel', stopped: true });
  });

  it('sends its settings, and none that is empty', async () => {
    const { asked, conversation } = speaking(hello);
    await conversation.ask('m', 'Hi');
    conversation.configure({ system: 'Be brief.', temperature: 0, context: 8192 });
    await conversation.regenerate('m');
    expect(asked[0]).toEqual({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] });
    expect(asked[1]).toEqual({
      model: 'm',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Hi' }
      ],
      options: { temperature: 0, num_ctx: 8192 }
    });
  });

  it('has the counts of the last event', async () => {
    const { conversation } = speaking(async function* () {
      yield text('Hello');
      yield {
        ...done,
        prompt_eval_count: 1812,
        prompt_eval_cached_count: 640,
        eval_count: 90,
        eval_duration: 2e9
      };
    });
    await conversation.ask('m', 'Hi');
    const { usage } = conversation.turns[1];
    expect(usage).toMatchObject({ read: 1812, cached: 640, written: 90, perSecond: 45 });
    const line = usageLine({ ...usage, firstAfter: 0.42 }, nullTranslator.load(''));
    expect(line.replace(/\u00a0/g, ' ')).toBe(
      '1,812 tokens read, 640 of them cached · 90 written · 45 tokens/s · first after 0.4 s'
    );
  });

  it('keeps the text of an answer that the connection cut off', async () => {
    const lost = speaking(async function* () {
      yield text('Hel');
      throw new TypeError('network error');
    });
    const ended = speaking(async function* () {
      yield text('Hel');
    });
    for (const { conversation } of [lost, ended]) {
      await conversation.ask('m', 'Hi');
      expect(conversation.turns[1]).toEqual({
        role: 'assistant',
        content: 'Hel',
        model: 'm',
        isCutOff: true
      });
    }
  });

  it('sends no image that was left out', () => {
    const attachments = [{ kind: 'image', name: 'Plot', content: '', isLeftOut: true }] as const;
    expect(messageOf({ role: 'user', content: 'Why?', attachments })).toEqual({
      role: 'user',
      content: 'Why?'
    });
  });

  it('shows an error in the answer', async () => {
    const { conversation } = speaking(async function* () {
      yield text('Hel');
      throw new Error('model is gone');
    });
    await conversation.ask('m', 'Hi');
    expect(conversation.turns[1]).toMatchObject({ content: 'Hel', error: 'model is gone' });
  });
});

describe('messageOf', () => {
  it('puts attached texts before the question and images beside it', () => {
    const turn: ITurn = {
      role: 'user',
      content: 'Why?',
      attachments: [
        { kind: 'text', name: 'Cell', content: 'x', language: 'python' },
        { kind: 'image', name: 'Plot', content: 'aGk=' }
      ]
    };
    expect(messageOf(turn)).toEqual({
      role: 'user',
      content: 'Cell:\n```python\nx\n```\n\nWhy?',
      images: ['aGk=']
    });
  });

  it('makes a fence longer than those inside', () => {
    expect(fenced('a\n````\nb')).toBe('`````\na\n````\nb\n`````');
  });
});

describe('documents', () => {
  const turns: ITurn[] = [
    { role: 'user', content: 'Show me' },
    {
      role: 'assistant',
      model: 'm',
      content: 'So:\n```python\nx = 1\n\ny = 2\n```\nOr in a shell:\n```sh\nls\n```\n'
    }
  ];

  it('turns the code of answers into cells', () => {
    expect(partsOf(turns[1].content, 'python')).toEqual([
      { code: false, text: 'So:' },
      { code: true, text: 'x = 1\n\ny = 2' },
      { code: false, text: 'Or in a shell:\n```sh\nls\n```' }
    ]);
    const { cells } = asNotebook(turns);
    expect(cells.map(cell => cell.cell_type)).toEqual([
      'markdown',
      'markdown',
      'markdown',
      'code',
      'markdown'
    ]);
    expect(new Set(cells.map(cell => cell.id)).size).toBe(5);
  });

  it('has the given kernel', () => {
    expect(partsOf('```py\nx\n```', 'python')).toEqual([{ code: true, text: 'x' }]);
    const r = { name: 'ir', display_name: 'R', language: 'R' };
    const { cells, metadata } = asNotebook([{ role: 'assistant', content: '```r\nx\n```' }], r);
    expect(cells.map(cell => cell.cell_type)).toEqual(['markdown', 'code']);
    expect(metadata).toEqual({ kernelspec: r });
  });

  it('saves neither images nor HTML of answers', () => {
    const code = '```rust\nvec![1]; // <img src=x>\n```\nand `vec![2]`';
    const content = `![a](http://x/) <img src="y"> <b>\n${code}`;
    const kept = `[a](http://x/) &lt;img src="y"> &lt;b>\n${code}`;
    const turn: ITurn = { role: 'assistant', content };
    expect(asMarkdown([turn])).toBe(`## Model\n\n${kept}\n`);
    expect(asNotebook([turn]).cells[1].source).toBe(kept);
  });

  it('names the speakers', () => {
    expect(asMarkdown(turns)).toMatch(/^## You\n\nShow me\n\n## m\n\nSo:/);
  });
});
