/** The kinds of things that a question can refer to, in the order in which they are listed. */
export const KINDS = ['variable', 'error', 'selection', 'notebook', 'cell', 'file'] as const;

/** Something that a question can refer to by an `@` word. */
export interface IMention {
  readonly kind: (typeof KINDS)[number];
  /** The word, without its `@`: "df", "cell:3", "file:data.csv". */
  readonly word: string;
  readonly detail: string;
}

/** The `@` word before the cursor. */
export interface ITypedWord {
  /** The offset of its `@`. */
  readonly from: number;
  /** Its text after the `@`. */
  readonly typed: string;
}

const WORD = String.raw`file:"[^"\n]*"?|[^\s@"'\x60]*`;
const BEFORE = String.raw`(?<![\w@.\x60/\\])`;
const AT_END = new RegExp(`${BEFORE}@(${WORD})$`);
const EACH = new RegExp(`${BEFORE}@(${WORD})`, 'g');
const CODE = /^[^\S\n]*(`{3,}|~{3,})[\s\S]*?(?:^[^\S\n]*\1|$(?![\s\S]))|`[^`\n]+`/gm;
const MOST_OFFERED = 60;
/** The offers of a kind before anything is typed. */
const MOST_AT_FIRST = 8;

/** Return the `@` word that the cursor is at the end of. */
export function typedWord(text: string, cursor: number): ITypedWord | null {
  const found = AT_END.exec(text.slice(0, cursor));
  return found && !isCode(text, found.index) ? { from: found.index, typed: found[1] } : null;
}

/** Return the `@` words of a text outside of code, without their `@`, each once. */
export function wordsOf(text: string): string[] {
  const words = [...text.matchAll(EACH)]
    .filter(found => found[1] && !isCode(text, found.index))
    .map(found => found[1]);
  return [...new Set(words)];
}

/** Return the mention that a word names; punctuation may follow it. */
export function mentionOf(word: string, mentions: readonly IMention[]): IMention | undefined {
  const bare = word.replace(/[.,;:!?)\]}]+$/, '');
  return (
    mentions.find(one => one.word === word) ??
    mentions.find(one => one.word === bare) ??
    // A column of a table, or a sentence that goes on.
    mentions.find(one => one.kind === 'variable' && bare.startsWith(`${one.word}.`))
  );
}

/** Return the mentions that fit what is typed: first those that begin so, then those with it. */
export function fitting(mentions: readonly IMention[], typed: string): IMention[] {
  const wanted = typed.toLowerCase().replace(/"/g, '');
  const rank = ({ word }: IMention) => {
    const text = word.toLowerCase().replace(/"/g, '');
    const name = text.split(/[:/]/).pop() ?? '';
    return text.startsWith(wanted)
      ? 0
      : name.startsWith(wanted)
        ? 1
        : text.includes(wanted)
          ? 2
          : 3;
  };
  const ranked = mentions.map(one => ({ one, at: rank(one) })).filter(({ at }) => at < 3);
  const best = ranked.sort((a, b) => a.at - b.at).slice(0, wanted ? MOST_OFFERED : undefined);
  // Groups stay together.
  const most = wanted ? MOST_OFFERED : MOST_AT_FIRST;
  return KINDS.flatMap(kind => best.filter(({ one }) => one.kind === kind).slice(0, most)).map(
    ({ one }) => one
  );
}

/** Return a text with a word in the place of the typed one, and the cursor behind it. */
export function withWord(
  text: string,
  cursor: number,
  { from }: ITypedWord,
  word: string
): { text: string; cursor: number } {
  const after = text.slice(cursor);
  const space = /^\s/.test(after) ? '' : ' ';
  const head = `${text.slice(0, from)}@${word}${space}`;
  return { text: head + after, cursor: head.length + (space ? 0 : 1) };
}

/** Put a path in quotes if the word would end in it. */
export function fileWord(path: string): string {
  return /[\s@"'`]/.test(path) ? `file:"${path.replace(/"/g, '')}"` : `file:${path}`;
}

function isCode(text: string, at: number): boolean {
  return [...text.matchAll(CODE)].some(
    found => found.index <= at && at < found.index + found[0].length
  );
}
