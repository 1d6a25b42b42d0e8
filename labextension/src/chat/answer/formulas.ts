import {
  isDisplay,
  isInline
} from '../../../../magics/jupyter_ollama_magics/widgets/frontend/dollars.js';

/** Text between dollars, which may be a formula: `isFormula` decides. */
export const DOLLARS =
  /(?<!\\)\$\$(?!\$)(?:(?!\n[ \t]*\n)[^$])+?(?<!\\)\$\$(?!\$)|(?<!\\)\$(?!\$)(?:\\.|[^$\n`\\])+\$(?!\d)/;

/** Commands that affect the page outside of a formula: links, images, styles, later formulas. */
export const UNTRUSTED =
  'href|url|class|cssId|style|data|html[A-Za-z]*|includegraphics|bbox|mmlToken|texttip|tooltip|' +
  'require|unicode|enclose|action|csname|catcode|def|[gex]def|let|(?:re)?newcommand|' +
  'providecommand|(?:re)?newenvironment|Newextarrow|DeclareMathOperator|input|special';

const COMMAND = new RegExp(`\\\\(?:${UNTRUSTED})(?![A-Za-z])`);

/** Return whether a text between dollars is a formula, given the text around it. */
export function isFormula(before: string, dollars: string, after: string): boolean {
  return dollars.startsWith('$$')
    ? isDisplay(dollars.slice(2, -2))
    : isInline(before, dollars.slice(1, -1), after);
}

/**
 * Return a formula, with its delimiters, that is harmless if it is parsed as markdown.
 *
 * Undefined if its commands affect the page outside of it, or if front ends disagree on its end.
 */
export function harmlessTex(math: string): string | undefined {
  if (COMMAND.test(math) || !isBalanced(math)) {
    return undefined;
  }
  // TeX ignores the spaces, and "< x" is not a tag. Quotation marks become typographic,
  // since a formula may be part of a link's URL.
  const shown = math
    .replace(/<(?=[A-Za-z/!?])/g, '< ')
    .replace(/!(?=\[)|\](?=[(:])/g, '$& ')
    .replace(/"/g, '\u201d');
  return math.startsWith('$$') ? shown : shown.replace(/\\\\(?=[()[\]])/g, '\\\\ ');
}

/** Return whether the braces and environments of a formula are closed, as JupyterLab counts. */
function isBalanced(math: string): boolean {
  let depth = 0;
  for (const [mark] of math.matchAll(/\\[{}$]|[{}]/g)) {
    depth += mark === '{' ? 1 : mark === '}' ? -1 : 0;
    if (depth < 0) {
      return false;
    }
  }
  const open: string[] = [];
  for (const [, kind, name] of math.matchAll(/\\(begin|end)\{([^{}]*)\}/g)) {
    if (kind === 'begin') {
      open.push(name);
    } else if (open.pop() !== name) {
      return false;
    }
  }
  return !depth && !open.length && !/\\\$*$/.test(math);
}
