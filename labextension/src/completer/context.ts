import { commentOf } from '../comments';

/** The first line of the comment about the names in scope. */
const SCOPE = 'Names in scope:';

/** The text around the cursor: of its cell and of the cells near it. */
export interface ISurroundings {
  before: readonly string[];
  prefix: string;
  suffix: string;
  after: readonly string[];
  /** Lines about the names that the kernel knows. */
  scope?: readonly string[];
}

/** The text before and after the completion. */
export interface IGap {
  prompt: string;
  suffix: string;
}

/** Return the separator of two cells; a model that writes it has started another cell. */
export function cellMark(language: string): string {
  return `${commentOf(language)} %%`;
}

/** Return lines about the names in scope as comments of a language, "" without lines. */
export function scopeComment(lines: readonly string[], language: string): string {
  const sign = commentOf(language);
  return lines.length ? `${[SCOPE, ...lines].map(line => `${sign} ${line}`).join('\n')}\n\n` : '';
}

/** Add cells around the cursor's cell up to the numbers of characters. */
export function gapOf(
  around: ISurroundings,
  before: number,
  after: number,
  mark = cellMark('')
): IGap {
  let prompt = around.prefix.slice(-before);
  if (prompt.length === around.prefix.length) {
    for (const cell of [...around.before].reverse()) {
      const longer = `${cell}\n\n${mark}\n${prompt}`;
      if (longer.length > before) {
        break;
      }
      prompt = longer;
    }
  }
  let suffix = around.suffix.slice(0, after);
  if (suffix.length === around.suffix.length) {
    for (const cell of around.after) {
      const longer = `${suffix}\n\n${mark}\n${cell}`;
      if (longer.length > after) {
        break;
      }
      suffix = longer;
    }
  }
  return { prompt, suffix };
}

/** Cut surplus text of a completion: another cell, a fence, or text that already follows. */
export function trimmed(text: string, suffix: string): string {
  const [code] = text.split(/^(?:\S+ %%|```)/m);
  const next = suffix.split('\n', 1)[0].trim();
  const repeated = next.length > 3 ? code.lastIndexOf(next) : -1;
  const kept = repeated >= 0 && repeated + next.length === code.trimEnd().length;
  return kept ? code.slice(0, repeated) : code;
}
