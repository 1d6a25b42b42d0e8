import { describe, expect, it } from 'vitest';

import type { OllamaApi } from '../src/api';
import { CellNames } from '../src/agent/cellNames';
import { cut, pictureSize, readOutputs } from '../src/agent/outputs';
import { boundsOf, DEFAULT_POLICY, offers, policyOf, runsOf } from '../src/agent/policy';
import { readWork, savedWork } from '../src/agent/savedWork';
import { fileTools, resolved } from '../src/agent/tools/files';
import { mcpTools } from '../src/agent/tools/mcp';
import type { ICall } from '../src/agent/tools/tool';
import { visibleText } from '../src/agent/visibleText';
import { OllamaError } from '../src/ndjson';
import { work } from './agentTask';
import { deskWith } from './sharedNotebook';

const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAoAAAAHgCAYAAAA10dzkAAAAOXRFWHRTb2Z0d2FyZQBNYXRwbG90bGliIHZlcnNpb24z';
const STEADY = new AbortController().signal;

describe('readOutputs', () => {
  it('names pictures by their size, and returns them to a model that sees', () => {
    const outputs = [{ output_type: 'display_data', data: { 'image/png': PNG }, metadata: {} }];
    expect(readOutputs(outputs, 100, false)).toEqual({ text: '[image 640x480]', images: [] });
    expect(readOutputs(outputs, 100, true).images).toEqual([PNG]);
    expect(pictureSize('/9j/4AAQSkZJRgABAQAAAQABAAD/wAARCAAgAEADASIAAhEBAxEB')).toEqual([64, 32]);
    expect([pictureSize('!'), pictureSize('aGVsbG8=')]).toEqual([undefined, undefined]);
  });

  it('shows what a terminal would, and the frames of the user in an error', () => {
    const traceback = [
      '\u001b[0;31mKeyError\u001b[0m   Traceback (most recent call last)\n',
      "Cell In[3], line 2\n      1 import pandas\n----> 2 frame['a']\n",
      'File /x/site-packages/pandas/frame.py:9, in f()\n----> 9 raise KeyError(key)\n',
      "KeyError: 'a'"
    ];
    const { text } = readOutputs(
      [
        { output_type: 'stream', name: 'stdout', text: ['10%\r', '100%\ndone\n'] },
        { output_type: 'error', ename: 'KeyError', evalue: "'a'", traceback },
        { output_type: 'execute_result', data: { 'text/html': '<b>x</b>' } }
      ],
      4000,
      false
    );
    expect(text.startsWith('100%\ndone\n')).toBe(true);
    expect(text).toContain("frame['a']");
    expect(text).toContain("KeyError: 'a'");
    expect(text).not.toContain('raise KeyError(key)');
    expect(text.endsWith('[text/html]')).toBe(true);
  });

  it('cuts in the middle', () => {
    expect(cut('abcdefghij', 5)).toBe('abc\n[… 5 characters left out …]\nij');
  });
});

describe('CellNames', () => {
  it('keeps a name for its cell, and gives no name twice', () => {
    const names = new CellNames();
    const ids = ['abcd-1', 'abcd-2', 'xyz', '12345678'];
    expect(ids.map(id => names.of(id, ids))).toEqual(['abcd-1', 'abcd-2', 'xyz', '1234']);
    const more = [...ids, '1234-other'];
    expect(names.find('1234', more)).toBe('12345678');
    expect(names.of('1234-other', more)).not.toBe('1234');
    expect(names.find('1234', ['1234-other'])).toBeUndefined();
    expect([names.find('abcd', ids), names.find('#1234', ids)]).toEqual([undefined, '12345678']);
    expect(names.find('last', ids)).toBeUndefined();
    names.last = 'xyz';
    expect(names.find('last', ids)).toBe('xyz');
  });
});

describe('policyOf', () => {
  it('reads the rules, and offers nothing by rules that it cannot read', () => {
    expect(policyOf('')).toBe(DEFAULT_POLICY);
    const rules = { run: 'never', tools: null, steps: 5, tokens: 10, minutes: 1 };
    const policy = policyOf(JSON.stringify(rules));
    expect([offers(policy, 'run_cell'), offers(policy, 'edit_cell')]).toEqual([false, true]);
    const allow = { ...policy, run: 'allow' } as const;
    expect([runsOf(allow), runsOf({ ...allow, tools: ['read_cell'] })]).toEqual(['allow', 'never']);
    expect(boundsOf(policy, { steps: 9, tokens: 3, minutes: 10 })).toEqual({
      steps: 5,
      tokens: 3,
      minutes: 1
    });
    for (const text of ['{', '[]', '{"run": "yes"}', JSON.stringify({ ...rules, tools: 'all' })]) {
      expect(policyOf(text)).toMatchObject({ run: 'never', tools: [] });
    }
  });
});

describe('files', () => {
  const files: Record<string, unknown> = {
    folder: {
      type: 'directory',
      content: [
        { name: '.env', type: 'file', size: 3 },
        { name: 'sub', type: 'directory' },
        { name: 'a.txt', type: 'file', size: 5 }
      ]
    },
    'folder/a.txt': { type: 'file', format: 'text', size: 5, content: 'one\ntwo\nthree' },
    'folder/big.txt': { type: 'file', format: 'text', size: 5e6, content: 'x' },
    'folder/b.bin': { type: 'file', format: 'base64', size: 3, content: 'AAAA' },
    'n.ipynb': { type: 'notebook', content: { cells: [{ cell_type: 'code', source: 'x = 1' }] } }
  };
  const contents = { get: async (path: string) => files[path] as never };
  const tools = fileTools(contents);
  const call = (tool: number, args: Record<string, string | number>) =>
    tools[tool].call(args, { desk: deskWith([]).desk } as ICall).then(
      one => one.text,
      (error: Error) => error.message
    );

  it('are listed and read without those that are hidden', async () => {
    expect(await call(0, {})).toBe('a.txt 5 bytes\nsub/');
    expect(await call(1, { path: 'a.txt', line: 2 })).toBe('two\nthree');
    expect(await call(1, { path: '/n.ipynb' })).toBe('# %% code\nx = 1');
    expect(await call(1, { path: 'big.txt' })).toContain('5000000 bytes');
    expect(await call(1, { path: 'b.bin' })).toBe('It is no text file.');
    expect(await call(1, { path: 'a.txt', line: 9 })).toBe('The file has 3 lines.');
  });

  it.each([
    ['../../x', 'leaves'],
    ['.env', 'Hidden'],
    ['a/.ssh/id', 'Hidden'],
    ['RTC:a.txt', 'Only files of this server'],
    ['..\\..\\..\\x', 'leaves']
  ])('refuses the path %j', (path, message) => {
    expect(() => resolved('folder/n.ipynb', path)).toThrow(message);
  });
});

describe('mcpTools', () => {
  it('asks before each call, and gives errors to the model', async () => {
    const called: unknown[] = [];
    const tool = { name: 'find.it', description: 'Finds.', parameters: { type: 'object' } };
    const servers = [{ name: 'wiki', tools: [tool], not_allowed: [], error: '' }];
    const api: Pick<OllamaApi, 'mcpTools' | 'callMcpTool'> = {
      mcpTools: async () => servers,
      callMcpTool: async (...args) => {
        called.push(args.slice(0, 3));
        return { content: 'found', is_error: false, truncated: false };
      }
    };
    const { tools: foreign } = await mcpTools(api, DEFAULT_POLICY, STEADY);
    const { desk } = deskWith([{ id: 'code', source: 'x' }]);
    const search = ['mcp_wiki_find_it', { q: 'cat' }] as const;
    const answers = ['always', 'never', 'once'] as const;
    let at = 0;
    const done = await work(desk, [[search], [search], [search], 'Done.'], {
      foreign,
      answer: () => answers[at++]
    });
    expect(done.asked[0]).toEqual({ kind: 'call', text: 'wiki.find.it\n{\n  "q": "cat"\n}' });
    expect(done.asked).toHaveLength(3);
    expect(called).toEqual(Array(2).fill(['wiki', 'find.it', { q: 'cat' }]));
    expect(done.work.steps.map(step => step.state)).toEqual(['done', 'refused', 'done']);
    const edit = await work(desk, [[search], 'Done.'], { foreign, mode: 'edit' });
    expect(edit.work.steps[0].result).toContain('There is no tool');
  });

  it('says why there are no tools, unless the user may have none or has stopped', async () => {
    const failing = (error: Error, signal = STEADY) =>
      mcpTools(
        { mcpTools: () => Promise.reject(error), callMcpTool: () => Promise.reject(error) },
        DEFAULT_POLICY,
        signal
      );
    expect(await failing(new Error('away'))).toEqual({ tools: [], problems: ['away'] });
    const forbidden = await failing(new OllamaError(403, 'not yours'));
    expect(forbidden).toEqual({ tools: [], problems: [] });
    const stopped = await failing(new Error('aborted'), AbortSignal.abort());
    expect(stopped).toEqual({ tools: [], problems: [] });
  });

  it('offers what the administrator does, and gives no name twice', async () => {
    const toolNamed = (name: string) => ({ name, description: '', parameters: {} });
    const long = 'x'.repeat(80);
    const servers = [
      { name: 'a', tools: ['b_c', `${long}1`, `${long}2`].map(toolNamed) },
      { name: 'a_b', tools: [toolNamed('c')], not_allowed: [], error: 'a_b has no tool d' }
    ].map(one => ({ not_allowed: [], error: '', ...one }));
    let isAsked = false;
    const api = {
      mcpTools: async () => {
        isAsked = true;
        return servers;
      },
      callMcpTool: () => Promise.reject(new Error('It is not called.'))
    };
    const namesFor = async (tools: readonly string[] | null) =>
      (await mcpTools(api, { ...DEFAULT_POLICY, tools }, STEADY)).tools.map(one => one.name);
    expect(await namesFor(['read_cell'])).toEqual([]);
    expect(isAsked).toBe(false);
    const all = await namesFor(null);
    expect([all[0], all[3]]).toEqual(['mcp_a_b_c', 'mcp_a_b_c_2']);
    expect(new Set(all.map(name => name.slice(0, 64))).size).toBe(4);
    expect(await namesFor(['mcp:a_b'])).toEqual(['mcp_a_b_c']);
    expect(await namesFor(['mcp:a.b_c', 'mcp:a_b.d'])).toEqual(['mcp_a_b_c']);
    expect((await mcpTools(api, DEFAULT_POLICY, STEADY)).problems).toEqual(['a_b has no tool d']);
  });
});

describe('a saved work', () => {
  it('is read again, without its questions', async () => {
    const { desk } = deskWith([{ id: 'code', source: 'x' }]);
    const done = await work(desk, [[['run_cell', { cell: 'code' }]], 'Done.']);
    const full = {
      ...done.work,
      problems: ['a server is away'],
      steps: done.work.steps.map(step => ({ ...step, label: 'wiki.search' }))
    };
    const saved = JSON.parse(JSON.stringify(savedWork(full)));
    expect(readWork(saved)).toEqual(full);
    const asking = done.shown.find(one => one.steps[0]?.state === 'asks');
    const read = readWork(JSON.parse(JSON.stringify(savedWork(asking!))));
    expect(read?.end).toBe('stopped');
    expect(read?.steps[0]).not.toHaveProperty('question');
    expect(read?.steps[0].state).toBe('failed');
  });

  it.each([null, 'x', [], { mode: 'root', steps: [] }, { mode: 'agent', steps: {} }])(
    'of another shape is left out: %j',
    value => expect(readWork(value)).toBeUndefined()
  );

  it('loses steps of another shape', () => {
    const steps = [null, { tool: 1 }, { tool: 'x', round: 7 }, { tool: 'run_cell', round: 0 }];
    const work = readWork({ mode: 'agent', steps, said: ['', 3], use: { steps: 'x' } });
    expect(work?.steps).toEqual([
      { id: 3, round: 0, tool: 'run_cell', arguments: {}, state: 'failed' }
    ]);
    expect(work?.use).toEqual({ steps: 0, tokens: 0, seconds: 0 });
  });
});

describe('visibleText', () => {
  it('shows characters that a page hides', () => {
    expect(visibleText('a\u202eb\u200b\r\n\tc')).toBe('a⟨U+202E⟩b⟨U+200B⟩⟨U+000D⟩\n\tc');
    expect(visibleText('x = "ä 中 😀"')).toBe('x = "ä 中 😀"');
  });
});
