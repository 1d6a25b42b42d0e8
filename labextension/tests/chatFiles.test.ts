import type { Contents } from '@jupyterlab/services';
import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { readContents, readFiles } from '../src/chat/files';
import { optionsOf, validSettings } from '../src/chat/settings';

const trans = nullTranslator.load('');

describe('readFiles', () => {
  it('reads texts and images, and says what it does not read', async () => {
    const files = [
      new File(['für Ann'], 'a.txt'),
      new File(['<svg/>'], 'b.svg', { type: 'image/svg+xml' }),
      new File([new Uint8Array([1, 2, 255])], 'c.png', { type: 'image/png' }),
      new File([new Uint8Array([0, 255])], 'd.bin'),
      new File(['a\0b'], 'e.bin'),
      new File([new Uint8Array(10_000_001)], 'f.png', { type: 'image/png' }),
      new File(['x'.repeat(20_001)], 'g.txt')
    ];
    const { attachments, problems } = await readFiles(files, trans);
    expect(attachments).toEqual([
      { kind: 'text', name: 'a.txt', content: 'für Ann' },
      { kind: 'text', name: 'b.svg', content: '<svg/>' },
      { kind: 'image', name: 'c.png', content: 'AQL/' },
      { kind: 'text', name: 'g.txt (first 20,000 characters)', content: 'x'.repeat(20_000) }
    ]);
    expect(problems).toEqual([
      'd.bin is neither text nor an image.',
      'e.bin is neither text nor an image.',
      'f.png has 10 MB; a file may have 10 MB.'
    ]);
  });

  it('reads a large image whole', async () => {
    const bytes = new Uint8Array(100_000).map((_, index) => index);
    const file = new File([bytes], 'a.png', { type: 'image/png' });
    const [{ content }] = (await readFiles([file], trans)).attachments;
    expect(Buffer.from(content, 'base64').equals(Buffer.from(bytes))).toBe(true);
  });

  it('reads ten files at once', async () => {
    const files = Array.from({ length: 11 }, (_, index) => new File(['x'], `${index}`));
    const { attachments, problems } = await readFiles(files, trans);
    expect([attachments.length, problems]).toEqual([10, ['Only 10 files are attached at once.']]);
  });
});

it('readContents refuses folders and large files before it reads them', async () => {
  const read: string[] = [];
  const contents = {
    get: async (path: string, options?: Contents.IFetchOptions) => {
      if (path === 'gone.txt') {
        throw new Error('No such file: gone.txt');
      }
      if (options?.content !== false) {
        read.push(path);
      }
      const type = path === 'folder' ? 'directory' : 'file';
      const size = path === 'large.bin' ? 2e7 : 5;
      return { name: path, path, type, size, format: 'text', content: 'a,b', mimetype: 'text/csv' };
    }
  } as unknown as Contents.IManager;
  const paths = ['folder', 'large.bin', 'gone.txt', 'a.csv'];
  expect(await readContents(paths, contents, trans)).toEqual({
    attachments: [{ kind: 'text', name: 'a.csv', content: 'a,b', source: { path: 'a.csv' } }],
    problems: [
      'folder is a folder.',
      'large.bin has 20 MB; a file may have 10 MB.',
      'No such file: gone.txt'
    ]
  });
  expect(read).toEqual(['a.csv']);
});

describe('settings', () => {
  it('keeps what is in range', () => {
    expect(validSettings({ system: 'x', temperature: 0, context: 4096 })).toEqual({
      system: 'x',
      temperature: 0,
      context: 4096
    });
    expect(validSettings({ system: ' ', temperature: -1, context: 255 })).toEqual({});
    expect(validSettings({ system: 3, temperature: '1', context: NaN })).toEqual({});
  });

  it('sends no option that is not set', () => {
    expect(optionsOf({ system: 'x' })).toEqual({});
    expect(optionsOf({ context: 4096 })).toEqual({ options: { num_ctx: 4096 } });
  });
});
