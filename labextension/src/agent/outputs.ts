import type { IError, IOutput } from '@jupyterlab/nbformat';

import { shortError } from '../context/traceback';

/** The outputs of a cell as a model reads them. */
export interface IReadOutputs {
  readonly text: string;
  /** The pictures in base64, if the model sees. */
  readonly images: readonly string[];
}

/** The maximum number of pictures of a cell. */
const MOST_IMAGES = 4;
// Escape sequences of terminals.
// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]/g;

/** Return the outputs of a cell, cut to a number of characters. */
export function readOutputs(
  outputs: readonly IOutput[],
  limit: number,
  seesImages: boolean
): IReadOutputs {
  const texts: string[] = [];
  const images: string[] = [];
  for (const output of outputs) {
    if (output.output_type === 'stream') {
      texts.push(lastStates(joined(output.text)));
    } else if (output.output_type === 'error') {
      texts.push(errorText(output as IError));
    } else {
      const data = (output.data ?? {}) as Record<string, unknown>;
      const picture = joined(data['image/png'] ?? data['image/jpeg'] ?? '').replace(/\s/g, '');
      if (picture) {
        texts.push(pictureName(picture));
        if (seesImages && images.length < MOST_IMAGES) {
          images.push(picture);
        }
      } else if (data['text/plain'] !== undefined) {
        texts.push(joined(data['text/plain']));
      } else {
        texts.push(`[${Object.keys(data).join(', ') || 'nothing'}]`);
      }
    }
  }
  const text = texts
    .map(one => one.replace(ESCAPES, '').trimEnd())
    .filter(one => one)
    .join('\n');
  return { text: cut(text, limit), images };
}

/** Return the first error of a cell in one line. */
export function errorLine(outputs: readonly IOutput[]): string | undefined {
  const error = outputs.find(one => one.output_type === 'error') as IError | undefined;
  return error && `${error.ename}: ${error.evalue}`.replace(ESCAPES, '').slice(0, 300);
}

/** Cut a text in the middle, and say how much is left out. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) {
    return text;
  }
  const head = Math.ceil(limit * 0.6);
  const tail = limit - head;
  const left = text.length - limit;
  return `${text.slice(0, head)}\n[… ${left} characters left out …]\n${text.slice(-tail)}`;
}

/** Return the width and height of a PNG or JPEG picture in base64; undefined if not found. */
export function pictureSize(base64: string): [number, number] | undefined {
  let bytes: string;
  try {
    bytes = atob(base64.slice(0, 4 * 16384));
  } catch {
    return undefined;
  }
  const short = (at: number) => bytes.charCodeAt(at) * 256 + bytes.charCodeAt(at + 1);
  if (bytes.startsWith('\u0089PNG') && bytes.length >= 24) {
    return [short(16) * 65536 + short(18), short(20) * 65536 + short(22)];
  }
  if (short(0) === 0xffd8) {
    for (let at = 2; at + 9 < bytes.length && bytes.charCodeAt(at) === 0xff;) {
      const marker = bytes.charCodeAt(at + 1);
      // The frame headers SOF0 to SOF15, but for the markers of tables between them.
      if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
        return [short(at + 7), short(at + 5)];
      }
      at += 2 + short(at + 2);
    }
  }
  return undefined;
}

function pictureName(base64: string): string {
  const size = pictureSize(base64);
  return size ? `[image ${size[0]}x${size[1]}]` : '[image]';
}

/** Return the message of an error with the frames of the user's own code. */
function errorText({ ename, evalue, traceback }: IError): string {
  const message = `${ename}: ${evalue}`;
  const { text } = shortError(traceback.join('\n'));
  return text.includes(ename) ? text : [text, message].filter(one => one).join('\n');
}

/** Return what a terminal shows in the end: carriage returns overwrite lines. */
function lastStates(text: string): string {
  return text
    .split('\n')
    .map(line => {
      const states = line.split('\r').filter(state => state);
      return states[states.length - 1] ?? '';
    })
    .join('\n');
}

function joined(text: unknown): string {
  return Array.isArray(text) ? text.join('') : String(text);
}
