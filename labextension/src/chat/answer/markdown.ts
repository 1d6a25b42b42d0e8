import { hasLoneDollars, type IPiece, isActive, joined, pieces } from './prose';

const FENCE = /^(?<indent>[ \t]*)(?:(?<ticks>`{3,})(?<info>[^`]*)|(?<tildes>~{3,})(?<about>.*))$/;
/** Characters that end a line for some parser. */
// eslint-disable-next-line no-control-regex
const BREAKS = /\r\n?|[\n\v\f\x1c-\x1e\x85\u2028\u2029]/;
/** Delimiters that open a formula for JupyterLab even in code. */
const BEGINS_FORMULA = /\\begin\{|\\\\[([]/i;
const ITEM = /^ *(?:[-*+]|\d{1,9}[.)]) +/;
/** The number of lines in which the list item around a code block is searched. */
const LOOK_BACK = 200;
/** Markup of Mermaid that affects the page outside of a diagram, or loads something. */
const REACHES_OUT = new RegExp(
  [
    '<(?!br */?>)(?=[A-Za-z/!?])', // a tag
    '&[#\\w]|#\\w+;', // entities, of HTML and of Mermaid
    '://|url|\\bimg\\b|!\\[',
    '@\\{|@import|%%\\{|`|\\$\\$|\\\\(?!n)', // shapes, settings, markdown, formulas, escapes of CSS
    '\\$(?:sprite|link)',
    '^\\s*(?:click|links?|call|href|config|---\\s*$)'
  ].join('|'),
  'im'
);

interface ICode {
  readonly lines: readonly string[];
  readonly language: string;
  readonly indent: string;
}

/**
 * Return the text of a model as markdown without HTML, images or links that are not to web pages.
 *
 * Code blocks are rewritten without indent and with a fence that their content does not contain, so
 * that all parsers see them end at the same line. jupyter_ollama_magics/markdown.py has
 * the same rules.
 */
export function safeMarkdown(text: string): string {
  const quoted = text.includes('"');
  const blocks = blocksOf(text.replace(/\0/g, '\ufffd').split(BREAKS)).map(block =>
    typeof block === 'string' ? pieces(block, quoted) : block
  );
  const everyDollar = hasLoneDollars(blocks.flatMap(block => (isCode(block) ? [] : block)));
  return blocks
    .flatMap((block, index) => {
      if (!isCode(block)) {
        return [joined(block, everyDollar, quoted)];
      }
      const lines = fenced(block).map(line => block.indent + line);
      // No formula spans a blank line.
      const ends = block.lines.some(line => BEGINS_FORMULA.test(line)) && index < blocks.length - 1;
      return ends ? [...lines, ''] : lines;
    })
    .join('\n');
}

function isCode(block: ICode | readonly IPiece[]): block is ICode {
  return 'language' in block;
}

function blocksOf(lines: readonly string[]): (string | ICode)[] {
  const blocks: (string | ICode)[] = [];
  let text: string[] = [];
  const endText = () => {
    if (text.length) {
      blocks.push(text.join('\n'));
      text = [];
    }
  };
  for (let position = 0; position < lines.length; position++) {
    const opening = FENCE.exec(lines[position])?.groups as Record<string, string | undefined>;
    if (!opening) {
      text.push(lines[position]);
      continue;
    }
    endText();
    const fence = opening.ticks ?? opening.tildes ?? '';
    const end = closing(lines, position + 1, fence);
    blocks.push(code(lines, position + 1, end, opening));
    position = end;
  }
  endText();
  return blocks;
}

function closing(lines: readonly string[], start: number, fence: string): number {
  for (let position = start; position < lines.length; position++) {
    const line = lines[position].trim();
    if (line.length >= fence.length && line === fence[0].repeat(line.length)) {
      return position;
    }
  }
  return lines.length;
}

function code(
  all: readonly string[],
  start: number,
  end: number,
  opening: Record<string, string | undefined>
): ICode {
  const name = /^\s*([\w+#.-]*)/.exec(opening.info ?? opening.about ?? '')?.[1] ?? '';
  const indent = opening.indent ?? '';
  const lines = all
    .slice(start, end)
    .map(line => line.slice(Math.min(indent.length, /^[ \t]*/.exec(line)?.[0].length ?? 0)));
  const isDiagram = name.toLowerCase().startsWith('mermaid');
  const language = isDiagram && !isPlainDiagram(lines.join('\n')) ? '' : name;
  // Code stays indented in a list only if no parser finds markup in it.
  const before = all.slice(Math.max(0, start - LOOK_BACK), start - 1);
  const stays = isInItem(before, indent) && !lines.some(isActive);
  return { lines, language, indent: stays ? indent : '' };
}

/** Return whether an indented line belongs to the last list item before it. */
function isInItem(before: readonly string[], indent: string): boolean {
  if (!indent || indent.includes('\t')) {
    return false;
  }
  const outer = [...before].reverse().find(line => line.trim() && !line.startsWith(indent));
  const offset = ITEM.exec(outer ?? '')?.[0].length;
  return offset !== undefined && offset <= indent.length && indent.length < offset + 4;
}

function fenced({ lines, language }: ICode): string[] {
  const runs = lines.flatMap(line => line.match(/`+/g) ?? []).map(run => run.length);
  const fence = '`'.repeat(Math.max(2, ...runs) + 1);
  return [fence + language, ...lines, fence];
}

/** Return whether a Mermaid diagram has neither HTML nor URLs nor settings. */
function isPlainDiagram(source: string): boolean {
  return !REACHES_OUT.test(source);
}
