import { type Cell, CodeCell } from '@jupyterlab/cells';
import type { IError, IOutput } from '@jupyterlab/nbformat';

import { commentOf } from '../comments';
import { estimateTokens } from '../context/tokens';
import { around, type IShortError, shortError } from '../context/traceback';
import type { IAttachment } from './conversation';
import { LONGEST } from './files';

/** The tokens of an error and its cell; the names, fences and the question have 40 others. */
const FAILURE_TOKENS = 350;
// The escape sequences of colours in tracebacks.
// eslint-disable-next-line no-control-regex
const COLOURS = /\u001b\[[0-9;]*m/g;

/** Return the source of a cell. */
export function cellSource(cell: Cell, name: string, language: string): IAttachment {
  const content = cell.model.sharedModel.getSource();
  return { kind: 'text', name, content, language: cell.model.type === 'code' ? language : '' };
}

/** Return the error of a cell: its message, and the frames of the user's own code. */
export function cellError(cell: Cell | null | undefined, name: string): IAttachment | undefined {
  const error = errorOf(cell);
  return error && { kind: 'text', name, content: error.text };
}

/** Return the part of a cell around its error, and the error, in about 400 tokens. */
export function cellFailure(
  cell: Cell | null | undefined,
  name: string,
  errorName: string,
  language: string
): IAttachment[] {
  const error = errorOf(cell);
  if (!cell || !error) {
    return [];
  }
  const source = cellSource(cell, name, language);
  const left = FAILURE_TOKENS - estimateTokens(error.text);
  const content = around(source.content, error.line, left, commentOf(language));
  return [
    { ...source, content },
    { kind: 'text', name: errorName, content: error.text }
  ];
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

function errorOf(cell: Cell | null | undefined): IShortError | undefined {
  const error = outputsOf(cell).find(output => output.output_type === 'error') as
    IError | undefined;
  if (!error || !(cell instanceof CodeCell)) {
    return undefined;
  }
  const found = shortError(error.traceback.join('\n'), cell.model.executionCount);
  return found.text ? found : { text: `${error.ename}: ${error.evalue}`, line: 0 };
}

function outputsOf(cell: Cell | null | undefined): IOutput[] {
  return cell instanceof CodeCell ? cell.model.outputs.toJSON() : [];
}

function joined(text: unknown): string {
  return Array.isArray(text) ? text.join('') : String(text);
}
