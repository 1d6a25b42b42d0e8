import type { Contents } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import { bytes } from '../sizes';
import type { IAttachment } from './conversation';

/** The maximum length of an attached text, in characters. */
export const LONGEST = 20_000;
/** The largest file that is read, in bytes. */
export const LARGEST_FILE = 10_000_000;
/** The most files that are attached at once. */
const MOST_FILES = 10;

/** Attachments, and what could not be attached, as messages. */
export interface IRead {
  readonly attachments: readonly IAttachment[];
  readonly problems: readonly string[];
}

/** Read files of the user's computer. */
export function readFiles(files: readonly File[], trans: TranslationBundle): Promise<IRead> {
  return readAll(
    files,
    async file => {
      if (file.size > LARGEST_FILE) {
        return tooLarge(file.name, file.size, trans);
      }
      const name = file.name || trans.__('Image');
      if (file.type.startsWith('image/') && file.type !== 'image/svg+xml') {
        return { kind: 'image', name, content: base64(await file.arrayBuffer()) };
      }
      const content = textOf(await file.arrayBuffer());
      return content === undefined
        ? neither(name, trans)
        : { kind: 'text', ...cut(name, content, trans) };
    },
    trans
  );
}

/** Read files of the server. */
export function readContents(
  paths: readonly string[],
  contents: Contents.IManager,
  trans: TranslationBundle
): Promise<IRead> {
  return readAll(
    paths,
    async path => {
      const { type, size } = await contents.get(path, { content: false });
      if (type === 'directory') {
        return trans.__('%1 is a folder.', path);
      }
      if ((size ?? 0) > LARGEST_FILE) {
        return tooLarge(path, size ?? 0, trans);
      }
      const one = fileAttachment(await contents.get(path));
      return one
        ? { ...one, ...cut(one.name, one.content, trans, one.kind), source: { path } }
        : neither(path, trans);
    },
    trans
  );
}

/** Return a file of the server; undefined if it is neither text nor an image. */
export function fileAttachment(model: Contents.IModel): IAttachment | undefined {
  const { name, mimetype, format, content } = model;
  if (mimetype?.startsWith('image/') && format === 'base64') {
    return { kind: 'image', name, content: (content as string).replace(/\s/g, '') };
  }
  if (format === 'base64') {
    return undefined;
  }
  const text = typeof content === 'string' ? content : JSON.stringify(content, null, 1);
  return { kind: 'text', name, content: text };
}

async function readAll<T>(
  sources: readonly T[],
  read: (source: T) => Promise<IAttachment | string>,
  trans: TranslationBundle
): Promise<IRead> {
  const found = await Promise.all(
    sources.slice(0, MOST_FILES).map(source => read(source).catch((error: Error) => error.message))
  );
  const tooMany =
    sources.length > MOST_FILES
      ? [trans.__('Only %1 files are attached at once.', MOST_FILES)]
      : [];
  return {
    attachments: found.filter((one): one is IAttachment => typeof one !== 'string'),
    problems: [...found.filter((one): one is string => typeof one === 'string'), ...tooMany]
  };
}

/** Cut a text to LONGEST characters; its name says so, to the model, too. Images stay whole. */
export function cut(
  name: string,
  content: string,
  trans: TranslationBundle,
  kind = 'text'
): { name: string; content: string } {
  return kind === 'image' || content.length <= LONGEST
    ? { name, content }
    : {
        name: trans.__('%1 (first %2 characters)', name, LONGEST.toLocaleString('en')),
        content: content.slice(0, LONGEST)
      };
}

/** Return the text of a file; undefined if it is none. */
function textOf(buffer: ArrayBuffer): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(buffer);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}

function base64(buffer: ArrayBuffer): string {
  let binary = '';
  const all = new Uint8Array(buffer);
  // The arguments of a call are limited in number.
  for (let start = 0; start < all.length; start += 0x8000) {
    binary += String.fromCharCode(...all.subarray(start, start + 0x8000));
  }
  return btoa(binary);
}

function tooLarge(name: string, size: number, trans: TranslationBundle): string {
  return trans.__('%1 has %2; a file may have %3.', name, bytes(size), bytes(LARGEST_FILE));
}

function neither(name: string, trans: TranslationBundle): string {
  return trans.__('%1 is neither text nor an image.', name);
}
