import { type Cell, CodeCell } from '@jupyterlab/cells';
import type { IError, IOutput } from '@jupyterlab/nbformat';
import type { Contents } from '@jupyterlab/services';

import type { IAttachment } from './conversation';

/** The maximum length of an attached text, in characters. */
const LONGEST = 20_000;
// The escape sequences of colours in tracebacks.
// eslint-disable-next-line no-control-regex
const COLOURS = /\u001b\[[0-9;]*m/g;

/** Return the source of a cell. */
export function cellSource(cell: Cell, name: string, language: string): IAttachment {
  const content = cell.model.sharedModel.getSource();
  return { kind: 'text', name, content, language: cell.model.type === 'code' ? language : '' };
}

/** Return the error of a cell as a traceback without colours. */
export function cellError(cell: Cell | null | undefined, name: string): IAttachment | undefined {
  const error = outputsOf(cell).find(output => output.output_type === 'error') as
    IError | undefined;
  if (!error) {
    return undefined;
  }
  const traceback = error.traceback.join('\n').replace(COLOURS, '');
  return {
    kind: 'text',
    name,
    content: traceback.slice(-LONGEST) || `${error.ename}: ${error.evalue}`
  };
}

/** Return the outputs of a cell. */
export function cellOutputs(cell: Cell | null | undefined, name: string): IAttachment[] {
  const attachments: IAttachment[] = [];
  const texts: string[] = [];
  for (const output of outputsOf(cell)) {
    if (output.output_type === 'stream') {
      texts.push(joined(output.text));
      continue;
    }
    const data = (output.data ?? {}) as Record<string, unknown>;
    const image = data['image/png'] ?? data['image/jpeg'];
    if (image) {
      attachments.push({ kind: 'image', name, content: joined(image).replace(/\n/g, '') });
    } else if (data['text/plain']) {
      texts.push(joined(data['text/plain']));
    }
  }
  const text = texts.join('\n').replace(COLOURS, '').trim();
  if (text) {
    attachments.unshift({ kind: 'text', name, content: text.slice(0, LONGEST) });
  }
  return attachments;
}

/** Return a file of the server, or undefined if it is neither text nor an image. */
export function fileAttachment(model: Contents.IModel): IAttachment | undefined {
  const { name, mimetype, format, content } = model;
  if (mimetype?.startsWith('image/') && format === 'base64') {
    return { kind: 'image', name, content: (content as string).replace(/\s/g, '') };
  }
  if (format === 'base64') {
    return undefined;
  }
  const text = typeof content === 'string' ? content : JSON.stringify(content, null, 1);
  return { kind: 'text', name, content: text.slice(0, LONGEST) };
}

function outputsOf(cell: Cell | null | undefined): IOutput[] {
  return cell instanceof CodeCell ? cell.model.outputs.toJSON() : [];
}

function joined(text: unknown): string {
  return Array.isArray(text) ? text.join('') : String(text);
}
