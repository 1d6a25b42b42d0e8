/** A part of a text, from one offset up to another. */
export interface ISpan {
  readonly from: number;
  readonly to: number;
}

/** A field of a prompt: a value takes its place. */
export interface IField extends ISpan {
  /** The variable of the value: `frame` of `{frame.shape[0]}`. */
  readonly name: string;
}

/** The parts of a cell that asks a model. */
export interface IPrompt {
  readonly magic: ISpan;
  readonly model?: ISpan;
  readonly fields: readonly IField[];
}

const HEAD = /^%%chat(?=\s|$)([^\S\n]+(?!-)([^\s]+))?[^\n]*/;
/** The fields of `interpolate` in the magics. */
const FIELD =
  /(\{+)([\p{L}_][\p{L}\p{N}_]*)(?:\.[\p{L}_][\p{L}\p{N}_]*|\[[^[\]{}\n]+\])*(?:![rsa])?(?::[^{}\n]*)?(\}+)/gu;
const IS_RAW = /\s--raw(?=\s|$)/;

/** Return the parts of a cell that asks a model, undefined for another cell. */
export function promptOf(source: string): IPrompt | undefined {
  const head = HEAD.exec(source);
  if (!head) {
    return undefined;
  }
  const magic = { from: 0, to: '%%chat'.length };
  const end = magic.to + (head[1]?.length ?? 0);
  const model = head[2] ? { from: end - head[2].length, to: end } : undefined;
  const fields = IS_RAW.test(head[0]) ? [] : fieldsOf(source, head[0].length);
  return { magic, model, fields };
}

function fieldsOf(source: string, start: number): IField[] {
  const fields: IField[] = [];
  FIELD.lastIndex = start;
  for (let found = FIELD.exec(source); found; found = FIELD.exec(source)) {
    const [whole, open, name, close] = found;
    const depth = Math.min(open.length, close.length);
    // Two braces stand for one.
    if (depth % 2) {
      const from = found.index + open.length - depth;
      const to = found.index + whole.length - (close.length - depth);
      fields.push({ from, to, name });
    }
  }
  return fields;
}

/** The description of a variable. */
export interface IVariable {
  readonly type: string;
  readonly value: string;
}

// eslint-disable-next-line no-control-regex
const ANSI = /\x1b\[[0-9;]*m/g;
/** The longest value that is shown, in characters. */
const LONGEST = 400;

/** Return the type and the value in a kernel's text about a variable, if it has them. */
export function variableOf(inspection: string): IVariable | undefined {
  const text = inspection.replace(ANSI, '');
  const type = /^Type:\s+(.+)$/m.exec(text)?.[1];
  // The next part begins at the start of a line, with a capital and a colon.
  const value = /^String form:[^\S\n]*\n?([\s\S]*?)(?=\n[A-Z][A-Za-z ]*:\s|$(?![\s\S]))/m.exec(
    text
  );
  if (!type) {
    return undefined;
  }
  const shown = value?.[1].trimEnd() ?? '';
  return { type, value: shown.length > LONGEST ? `${shown.slice(0, LONGEST)}…` : shown };
}
