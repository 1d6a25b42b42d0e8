import { cutTo, estimateTokens } from './tokens';

/** A call in a traceback. */
interface IFrame {
  /** "Cell In[3]" or the path of a file. */
  readonly place: string;
  readonly line: number;
  readonly called: string;
  readonly code: string;
  readonly isLibrary: boolean;
}

/** An error in few words. */
export interface IShortError {
  /** The message, with the frames of cells and of the user's files. */
  readonly text: string;
  /** The line of the cell that failed, from 1; 0 if it is unknown. */
  readonly line: number;
}

// The escape sequences of colours.
// eslint-disable-next-line no-control-regex
const COLOURS = /\u001b\[[0-9;]*m/g;
const HEAD =
  /^[^\S\n]*(?:(Cell) In\[?\s*(\d+)\]?, line (\d+)(?:, in (.*))?|File (.+?):(\d+)(?:, in (.*))?)$/;
const FAILING = /^-*>\s*\d+\s?(.*)$/;
const NEXT_ERROR =
  /\n(?:The above exception was the direct cause|During handling of the above)[^\n]*\n/;
const RULE = /^-{20,}$/;
const LIBRARY = /(?:^|[\\/])(?:site-packages|dist-packages|lib[\\/]python3[^\\/]*)[\\/]|^</;
const MOST_FRAMES = 5;
const MOST_CAUSES = 2;
const MESSAGE_TOKENS = 120;
const LONGEST_LINE = 160;
/** The tokens of a traceback that is not IPython's. */
const OTHER_TOKENS = 220;
/** The tokens of the text of an error. */
const ERROR_TOKENS = 220;

/**
 * Return a traceback of IPython without the frames of libraries, except the place in the last one.
 *
 * `count` is the number of the cell that failed. Tracebacks of other kernels are cut in length.
 */
export function shortError(traceback: string, count?: number | null): IShortError {
  const plain = traceback.replace(COLOURS, '').replace(/\r/g, '').trim();
  const parts = plain.split(NEXT_ERROR).map(part => part.trim());
  // The last error is the one that was raised; those before are its causes.
  const errors = parts.map(readError).reverse();
  if (!errors[0].frames.length) {
    return { text: cutOther(plain), line: lineIn(plain, count) };
  }
  const shown = [written(errors[0])];
  const said = new Set([errors[0].message]);
  for (const cause of errors.slice(1)) {
    // Libraries often raise the same error again.
    if (shown.length <= MOST_CAUSES && cause.message && !said.has(cause.message)) {
      said.add(cause.message);
      shown.push(`It was caused by:\n${written(cause)}`);
    }
  }
  const own = errors[0].frames.filter(frame => frame.place === `Cell In[${count}]`);
  return { text: cutTo(shown.join('\n\n'), ERROR_TOKENS), line: own[own.length - 1]?.line ?? 0 };
}

/** Return the lines of a source around one of them, numbered from 1, as far as they fit. */
export function around(source: string, line: number, tokens: number, comment = '#'): string {
  if (estimateTokens(source) <= tokens) {
    return source;
  }
  const lines = source.split('\n');
  const part = (from: number, to: number) => {
    const after = lines.length - 1 - to;
    return [
      ...(from ? [`${comment} … ${from} lines before`] : []),
      ...lines.slice(from, to + 1),
      ...(after ? [`${comment} … ${after} lines after`] : [])
    ].join('\n');
  };
  const fits = (from: number, to: number) => estimateTokens(part(from, to)) <= tokens;
  let from = Math.min(Math.max(line - 1, 0), lines.length - 1);
  let to = from;
  for (;;) {
    // The lines before the failing one say more about it.
    const earlier = Math.max(from - 2, 0);
    const later = Math.min(to + 1, lines.length - 1);
    if ((earlier !== from || later !== to) && fits(earlier, later)) {
      [from, to] = [earlier, later];
    } else if (earlier !== from && fits(earlier, to)) {
      from = earlier;
    } else {
      return cutTo(part(from, to), tokens);
    }
  }
}

interface IReadError {
  readonly frames: readonly IFrame[];
  readonly message: string;
}

/** Read the frames and the message of one error. */
function readError(text: string): IReadError {
  const frames: IFrame[] = [];
  let message: string[] = [];
  let block: string[] = [];
  // A blank line ends the code of a frame; what follows the last one is the message.
  let isCode = true;
  for (const line of text.split('\n')) {
    const head = HEAD.exec(line);
    if (head) {
      const [, cell, number, cellLine, inCell, file, fileLine, inFile] = head;
      frames.push({
        place: cell ? `Cell In[${number}]` : file,
        line: Number(cell ? cellLine : fileLine),
        called: (inCell ?? inFile ?? '').replace(/\(.*/, '').replace('<module>', ''),
        code: '',
        // Files of C extensions have names relative to the build.
        isLibrary: !cell && (LIBRARY.test(file) || !/^(?:[~/\\]|[A-Za-z]:)/.test(file))
      });
      isCode = true;
      message = [];
      block = [];
      continue;
    }
    block.push(line);
    const code = FAILING.exec(line);
    const last: IFrame | undefined = frames[frames.length - 1];
    if (isCode && code && last && !last.code) {
      frames[frames.length - 1] = { ...last, code: code[1].trim().slice(0, LONGEST_LINE) };
    } else if (!line.trim()) {
      isCode = false;
    } else if (!isCode && !RULE.test(line)) {
      message.push(line);
    }
  }
  // A syntax error has its code and its message in one block.
  const said = message.length ? message : block;
  return { frames, message: cutTo(said.join('\n').trim(), MESSAGE_TOKENS) };
}

function written({ frames, message }: IReadError): string {
  const own = frames.filter(frame => !frame.isLibrary);
  const surplus = own.length - MOST_FRAMES;
  const shown = surplus > 0 ? [own[0], ...own.slice(surplus + 1)] : own;
  const lines = shown.map(({ place, line, called, code }) => {
    const where = `${place}, line ${line}${called ? `, in ${called}` : ''}`;
    return code ? `${where}:\n    ${code}` : where;
  });
  if (surplus > 0) {
    lines.splice(1, 0, `… ${surplus} more calls`);
  }
  const last: IFrame | undefined = frames[frames.length - 1];
  if (last?.isLibrary) {
    const file = last.place.split(/[\\/](?:site|dist)-packages[\\/]/).pop();
    lines.push(`raised in ${file}:${last.line}${last.called ? `, ${last.called}` : ''}`);
  }
  return [message, ...lines].filter(line => line).join('\n');
}

/** Return the line of the cell in the text of a syntax error, 0 if there is none. */
function lineIn(text: string, count?: number | null): number {
  const head = text
    .split('\n')
    .map(line => HEAD.exec(line))
    .find(found => found?.[1]);
  return head && Number(head[2]) === count ? Number(head[3]) : 0;
}

/** Return the first lines and the end of a traceback without frames that we know. */
function cutOther(text: string): string {
  if (estimateTokens(text) <= OTHER_TOKENS) {
    return text;
  }
  const lines = text.split('\n').filter(line => !RULE.test(line));
  const head = cutTo(lines.slice(0, 3).join('\n'), OTHER_TOKENS / 2 - 2, '');
  let end: string[] = [];
  for (const line of lines.slice(3).reverse()) {
    if (estimateTokens([line, ...end].join('\n')) > OTHER_TOKENS / 2 - 2) {
      break;
    }
    end = [line, ...end];
  }
  return [head, '…', ...end].join('\n');
}
