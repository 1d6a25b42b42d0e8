import { DOLLARS, harmlessTex, isFormula, UNTRUSTED } from './formulas';

/*
 * The text of an answer outside of its code blocks.
 *
 * Front ends disagree on where a formula, a code span or a link begins and ends, and some parse
 * formulas before code. So nothing here relies on one parser: text that could open an image, a tag,
 * a link of another scheme or a formula that ends in a code block is always escaped, and the parts
 * that are kept (formulas, code spans, links to web pages) are harmless if a parser reads them
 * otherwise. jupyter_ollama_magics/markdown_escape.py has the same rules.
 */

const PIECES = new RegExp(
  [
    /(?<![`\\])(?<ticks>`+)(?!`)(?<code>[^\n]+?)(?<!`)\k<ticks>(?!`)/,
    new RegExp(`(?<dollars>${DOLLARS.source})`),
    /(?<!\\)\\{1,2}\((?<inline>(?:(?!\n\s*\n|\\\()[^$])+?)\\{1,2}\)/,
    /(?<!\\)\\\[(?<display>(?:(?!\n\s*\n|(?<!\\)\\\[)[^$])+?)\\\]/,
    /(?<!\\)(?<environment>\\begin\{(?<name>[A-Za-z]*\*?)\}(?:[^$\n]|\n(?!\s*\n)){0,2000}?\\end\{\k<name>\})/
  ]
    .map(pattern => pattern.source)
    .join('|'),
  'gs'
);
const IMAGE = /(\\?)(!+)\[/g;
const TAG = /(?<!\\)(\\*)<(?=[A-Za-z/!?])/;
const LINK = /\]\((?!\s*(?:https?:\/\/|mailto:))/;
const BRACKET = /(?<!\\)(\\{2,})([()[\]])/g;
const COMMAND = new RegExp(
  `(?<!\\\\)(\\\\+)(?=(?:begin|end)\\{|(?:${UNTRUSTED})(?![A-Za-z]))`,
  'g'
);
/** A line that turns the line before it into a definition, which ends at a blank line. */
const DEFINITION = /(\n[ \t>]*):(?=[ \t])/g;
/** A line that may open a code block after a formula is removed from it. */
const RUN = /(\n[ \t]*)([`~])(?=\2{2})/g;
const ENTITY = /&(?:#0*36|#x0*24|dollar|(#0*92|#x0*5c|bsol));/gi;
const FOREIGN_SCHEME = /\bftp(?=:\/\/)/gi;
/** A dollar, or a URL, in which dollars are kept. A dollar before a digit is a price. */
const DOLLAR =
  /(?<address>\]\([^)\n]{0,2000}\)|\w:\/\/\S*)|(?<!\\)(?<slashes>\\*)\$(?=(?<price>\d)?)/g;
/** Delimiters of formulas for a front end that ignores the code span around them. */
const SPANNING = /\$\$|\\(?:begin|end)\{|\\\\[()[\]]/;
const ACTIVE = new RegExp(`${TAG.source}|${SPANNING.source}|!\\[|${LINK.source}|\\]:`, 'i');
/** The start of a paragraph after which every front end recognizes a code span. */
const PLAIN = /^(?:\]\([^\s()`]*\)|[^`|$<\\"'()])*(?<!\S)$/;
const AT_TOP = /(?:^|\n[ \t]*\n)$/;

/** A part of a text: a formula, a code span (both are kept), or other text. */
export interface IPiece {
  readonly text: string;
  readonly kept: boolean;
}

/** Split a text into parts; `quoted`: the answer contains a quotation mark. */
export function pieces(text: string, quoted: boolean): IPiece[] {
  const result: IPiece[] = [];
  let begin = 0;
  let match: RegExpExecArray | null;
  PIECES.lastIndex = 0;
  while ((match = PIECES.exec(text))) {
    const start = match.index;
    const end = start + match[0].length;
    const { dollars, ticks } = match.groups as Record<string, string | undefined>;
    if (dollars && !isFormula(text.slice(0, start), dollars, text.slice(end))) {
      // The second dollar may open a formula.
      PIECES.lastIndex = start + (/^\$+/.exec(dollars)?.[0].length ?? 1);
      continue;
    }
    if (begin < start) {
      result.push({ text: text.slice(begin, start), kept: false });
    }
    const before = () => text.slice(0, start);
    const shown = ticks ? codeSpan(match, before, quoted) : formula(match, before);
    if (shown.startsWith('$') && result.length && isShownFormula(result[result.length - 1])) {
      result.push({ text: ' ', kept: false }); // prevents "$$" between the two
    }
    result.push({ text: shown, kept: true });
    begin = end;
  }
  result.push({ text: text.slice(begin), kept: false });
  return result;
}

/**
 * Return whether dollars outside of formulas would be read as delimiters.
 *
 * A single dollar is kept if no other dollar follows.
 */
export function hasLoneDollars(parts: readonly IPiece[]): boolean {
  let count = 0;
  for (const part of parts) {
    if (isShownFormula(part) && count) {
      return true;
    }
    if (!part.kept) {
      count += [...part.text.matchAll(DOLLAR)].filter(found => !found.groups?.address).length;
    }
  }
  return count > 1;
}

/** Join the parts of a text, with the parts that are not kept escaped. */
export function joined(parts: readonly IPiece[], everyDollar: boolean, quoted: boolean): string {
  let result = '';
  for (const { text, kept } of parts) {
    const begins = !result || result.endsWith('\n') ? '\n' : '';
    const shown = kept ? text : escaped(begins + text, everyDollar, quoted).slice(begins.length);
    result += result.endsWith('$') && shown.startsWith('$') ? `<span></span>${shown}` : shown;
  }
  return result;
}

/** Return whether a parser that ignores the code span would find markup in the code. */
export function isActive(code: string): boolean {
  return code.includes('$') || ACTIVE.test(code);
}

function isShownFormula(part: IPiece): boolean {
  return part.kept && part.text.startsWith('$');
}

/** Return code in which no markdown parser finds markup. */
function asCode(text: string): string {
  const words = text.trim().split(/\s+/).join(' ');
  return `<code>${words.replace(/[*_`[\]\\$|~:&<>"']/g, found => entity(found))}</code>`;
}

function entity(character: string): string {
  const names: Record<string, string> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot' };
  return `&${names[character] ?? (character === "'" ? '#x27' : `#${character.charCodeAt(0)}`)};`;
}

function codeSpan(match: RegExpExecArray, before: () => string, quoted: boolean): string {
  const { ticks, code } = match.groups as Record<string, string>;
  if ((quoted && code.includes('$')) || ticks.length > 2) {
    return asCode(code);
  }
  if (!ACTIVE.test(code)) {
    return match[0];
  }
  const acts = TAG.test(code) || SPANNING.test(code) || code.includes('|');
  const paragraph = before().split('\n\n').pop() ?? '';
  return !acts && PLAIN.test(paragraph) ? match[0] : asCode(code);
}

/** Return a formula, as code if its commands affect the page outside of it. */
function formula(match: RegExpExecArray, before: () => string): string {
  const { inline, display } = match.groups as Record<string, string | undefined>;
  const math = inline
    ? `$${inline.trim().split(/\s+/).join(' ')}$`
    : display
      ? `$$${display.trim()}$$`
      : match[0];
  const harmless = harmlessTex(math);
  if (harmless === undefined) {
    return asCode(match[0]);
  }
  if (!harmless.includes('\n') || AT_TOP.test(before())) {
    return harmless;
  }
  return inOneLine(before(), harmless);
}

/** Return a formula whose lines cannot be split into different blocks. */
function inOneLine(before: string, math: string): string {
  const line = before.slice(before.lastIndexOf('\n') + 1);
  const mark = line.trimStart().startsWith('>') ? /^[ \t]*(?:>[ \t]*)*/ : /^[ \t]*/;
  return math
    .split('\n')
    .map((text, index) => (index ? text.replace(mark, '') : text))
    .map(text => text.replace(/(?<!\\)%.*/, '').trimEnd())
    .filter(text => text)
    .join(' ');
}

function escaped(text: string, everyDollar: boolean, quoted: boolean): string {
  return (
    text
      .replace(new RegExp(TAG, 'g'), (_, slashes: string) => `${even(slashes)}&lt;`)
      // Browsers load images without asking, and a URL can leak the conversation.
      .replace(IMAGE, (_, slash: string, marks: string) =>
        slash ? `${slash}${marks}<span></span>[` : `${'&#33;'.repeat(marks.length - 1)}[`
      )
      // A link definition may span lines, including code blocks.
      .replace(/\]:/g, ']&#58;')
      .replace(new RegExp(LINK, 'gi'), ']&#40;')
      .replace(RUN, (_, before: string, mark: string) => `${before}${entity(mark)}`)
      .replace(DEFINITION, '$1&#58;')
      .replace(FOREIGN_SCHEME, '$&<span></span>')
      .replace(BRACKET, (_, slashes: string, found: string) => even(slashes) + entity(found))
      .replace(ENTITY, (_, slash?: string) => `<span>&#${slash ? 92 : 36};</span>`)
      .replace(COMMAND, (_, slashes: string) => `${even(slashes.slice(1))}<span>&#92;</span>`)
      // MathJax looks for pairs of dollars within one rendered element.
      .replace(DOLLAR, (found, address?: string, slashes?: string, price?: string) => {
        if (address) {
          return quoted || address.includes('$$')
            ? address.replace(/\$/g, address.startsWith(']') ? '&#36;' : '%24')
            : address;
        }
        return everyDollar || quoted || price !== undefined
          ? `${even(slashes ?? '')}<span>&#36;</span>`
          : found;
      })
  );
}

/** Return backslashes without the last one if it escapes the next character. */
function even(slashes: string): string {
  return slashes.slice(0, Math.floor(slashes.length / 2) * 2);
}
