import type { CompletionHandler, IInlineCompletionContext } from '@jupyterlab/completer';
import { beforeEach, describe, expect, it } from 'vitest';

import type { GenerateEvent, GenerateRequest } from '../src/api';
import { cellMark, gapOf, scopeComment, trimmed } from '../src/completer/context';
import { languageOf, OllamaCompleter } from '../src/completer/provider';

const NEAR = {
  before: ['import os', 'x = 1'],
  prefix: 'y = ',
  suffix: '\nprint(y)',
  after: ['z = 3']
};

describe('gapOf', () => {
  it('takes cells around the cursor up to the limits', () => {
    expect(gapOf(NEAR, 1000, 1000)).toEqual({
      prompt: 'import os\n\n# %%\nx = 1\n\n# %%\ny = ',
      suffix: '\nprint(y)\n\n# %%\nz = 3'
    });
    expect(gapOf(NEAR, 20, 10)).toEqual({ prompt: 'x = 1\n\n# %%\ny = ', suffix: '\nprint(y)' });
    expect(gapOf(NEAR, 2, 3)).toEqual({ prompt: '= ', suffix: '\npr' });
  });
});

describe('cellMark', () => {
  it('is a comment of the language', () => {
    expect(['python', 'r', 'sql', 'c++', 'javascript'].map(cellMark)).toEqual([
      '# %%',
      '# %%',
      '-- %%',
      '// %%',
      '// %%'
    ]);
    expect(gapOf(NEAR, 20, 0, '// %%').prompt).toBe('x = 1\n\n// %%\ny = ');
  });
});

describe('scopeComment', () => {
  it('is a comment of the language above the code', () => {
    expect(scopeComment(['df: DataFrame[a: int64]', 'n: int'], 'python')).toBe(
      '# Names in scope:\n# df: DataFrame[a: int64]\n# n: int\n\n'
    );
    expect(scopeComment(['n: int'], 'javascript')).toBe('// Names in scope:\n// n: int\n\n');
    expect(scopeComment([], 'python')).toBe('');
  });
});

describe('trimmed', () => {
  it.each([
    ['1\n\n# %%\nmore', '', '1\n\n'],
    ['1\n// %%\nmore', '', '1\n'],
    ['1\n```\nDone', '', '1\n'],
    ['a, b)', 'a, b)', ''],
    ['1 + f(value)', '(value)', '1 + f'],
    ['1', '\nprint(y)', '1']
  ])('cuts %j before %j', (text, suffix, kept) => {
    expect(trimmed(text, suffix)).toBe(kept);
  });
});

describe('languageOf', () => {
  it('reads MIME types', () => {
    const types = {
      'text/x-ipython': 'python',
      'text/x-python': 'python',
      'text/x-ipythongfm': 'markdown',
      'text/x-rsrc': 'r',
      'text/x-c++src': 'c++',
      'application/typescript': 'typescript'
    };
    expect(Object.keys(types).map(languageOf)).toEqual(Object.values(types));
    expect(languageOf(undefined)).toBe('');
  });
});

describe('OllamaCompleter', () => {
  const request = { text: 'y = ', offset: 4, mimeType: 'text/x-ipython' };
  const context = {} as IInlineCompletionContext;
  let asked: GenerateRequest[];
  let capabilities: string[];
  let edit: () => void;
  let prefix: string;
  let scope: string[];
  let events: (signal: AbortSignal) => AsyncGenerator<GenerateEvent>;
  let completer: OllamaCompleter;

  beforeEach(() => {
    asked = [];
    prefix = NEAR.prefix;
    scope = [];
    capabilities = ['completion'];
    events = async function* () {
      yield { response: '1' };
      yield { response: ' + 1', done: true };
    };
    completer = new OllamaCompleter({
      api: {
        show: async () => ({ capabilities }) as never,
        generate: (body, signal) => {
          asked.push(body);
          return events(signal);
        }
      },
      defaultModel: () => 'small',
      surroundings: (_request, _context, onEdit) => {
        edit = onEdit;
        return { ...NEAR, prefix, scope };
      },
      name: 'Ollama'
    });
    completer.settings = { ...completer.settings, delayMilliseconds: 1 };
  });

  async function complete(body: CompletionHandler.IRequest = request): Promise<string[]> {
    const { items } = await completer.fetch(body, context);
    const texts: string[] = [];
    for (const item of items) {
      for await (const { response } of completer.stream(item.token ?? '')) {
        texts.push(response.error?.message ?? response.insertText);
      }
    }
    return texts;
  }

  it('streams the text of a model', async () => {
    expect(await complete()).toEqual(['1', '1 + 1']);
  });

  it('sends the names in scope above the code', async () => {
    scope = ['df: DataFrame[a: int64]'];
    await complete();
    expect(asked[0].prompt).toBe(
      '# Names in scope:\n# df: DataFrame[a: int64]\n\nimport os\n\n# %%\nx = 1\n\n# %%\ny = '
    );
    completer.settings = { ...completer.settings, namesInScope: false };
    prefix = 'z = ';
    await complete();
    expect(asked[1].prompt).toMatch(/^import os/);
  });

  it('fills the gap with a model that can insert', async () => {
    capabilities.push('insert');
    await complete();
    expect(asked[0]).toMatchObject({ model: 'small', suffix: '\nprint(y)\n\n# %%\nz = 3' });
    expect(asked[0].raw).toBeUndefined();
  });

  it('continues the earlier cells with any other model', async () => {
    await complete();
    expect(asked[0]).toMatchObject({ raw: true, prompt: gapOf(NEAR, 4000, 0).prompt });
    expect(asked[0].suffix).toBeUndefined();
  });

  it('sends no request in other languages, or when it is off', async () => {
    completer.settings = { ...completer.settings, languages: ['markdown'] };
    expect(await complete()).toEqual([]);
    completer.settings = { ...completer.settings, languages: [] };
    completer.enabled = false;
    expect(await complete()).toEqual([]);
    expect(asked).toEqual([]);
  });

  it('ends a completion without a gap at an empty line', async () => {
    await complete();
    expect(asked[0].options).toMatchObject({ stop: ['# %%', '\n\n'] });
  });

  it('sends no request while the user types the completion', async () => {
    expect(await complete()).toEqual(['1', '1 + 1']);
    prefix = 'y = 1 +';
    const { items } = await completer.fetch({ ...request, text: prefix, offset: 7 }, context);
    expect(items).toEqual([{ insertText: ' 1' }]);
    prefix = 'y = 2';
    await complete();
    prefix = 'y = 1 + 1';
    await complete();
    expect(asked.map(({ prompt }) => prompt?.split('\n').pop())).toEqual([
      'y = ',
      'y = 2',
      'y = 1 + 1'
    ]);
  });

  it('is aborted by the next request before the delay is over', async () => {
    completer.settings = { ...completer.settings, delayMilliseconds: 20 };
    const first = complete();
    await new Promise(resolve => setTimeout(resolve, 5));
    const second = complete();
    expect(await first).toEqual([]);
    expect(await second).toEqual(['1', '1 + 1']);
    expect(asked).toHaveLength(1);
  });

  it('is aborted by a key in the middle of its answer', async () => {
    events = async function* (signal) {
      yield { response: '1' };
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason))
      );
    };
    const { items } = await completer.fetch(request, context);
    const stream = completer.stream(items[0].token ?? '');
    expect((await stream.next()).value).toMatchObject({ response: { insertText: '1' } });
    const next = stream.next();
    edit();
    expect((await next).done).toBe(true);
  });

  it('reports the error of the server in the item', async () => {
    events = async function* () {
      yield { response: '1' };
      throw new Error('model is gone');
    };
    expect(await complete()).toEqual(['1', 'model is gone']);
  });
});
