/** The schema of an argument of a tool of this page. */
export interface IParameter {
  readonly type: 'string' | 'integer';
  readonly description: string;
  readonly enum?: readonly string[];
}

/** The schema of the arguments of a tool of this page. */
export interface IParameters {
  readonly type: 'object';
  readonly properties: Readonly<Record<string, IParameter>>;
  readonly required: readonly string[];
  readonly additionalProperties: false;
}

/** The arguments of a call after the check. */
export type Arguments = Readonly<Record<string, string | number>>;

/** The maximum length of a text, in characters: more than any cell has. */
const LONGEST = 200_000;

/** Return the schema of arguments; those with a name that ends with "?" may be left out. */
export function parameters(named: Readonly<Record<string, IParameter>>): IParameters {
  const names = Object.keys(named);
  return {
    type: 'object',
    properties: Object.fromEntries(names.map(name => [name.replace('?', ''), named[name]])),
    required: names.filter(name => !name.endsWith('?')),
    additionalProperties: false
  };
}

/** Return the arguments of a call, or a text that says to the model what is wrong. */
export function checked(schema: IParameters, value: unknown): Arguments | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'The arguments must be an object.';
  }
  const given = new Map<string, unknown>(Object.entries(value));
  const names = Object.keys(schema.properties);
  const unknown = [...given.keys()].filter(name => !names.includes(name));
  if (unknown.length) {
    const known = names.length ? names.join(', ') : 'none';
    return `There is no argument ${quoted(unknown[0])}. The arguments: ${known}.`;
  }
  const taken: Record<string, string | number> = {};
  for (const name of names) {
    const one = given.get(name);
    // Models write null for what they leave out.
    if (one === undefined || one === null) {
      if (schema.required.includes(name)) {
        return `The argument ${quoted(name)} is missing.`;
      }
      continue;
    }
    const found = converted(schema.properties[name], one);
    if (found === undefined) {
      return `The argument ${quoted(name)} must be ${described(schema.properties[name])}.`;
    }
    taken[name] = found;
  }
  return taken;
}

function converted({ type, enum: choices }: IParameter, value: unknown) {
  if (type === 'integer') {
    const number = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value;
    return Number.isSafeInteger(number) && (number as number) >= 0 ? (number as number) : undefined;
  }
  if (typeof value !== 'string' || value.length > LONGEST) {
    return undefined;
  }
  return !choices || choices.includes(value) ? value : undefined;
}

function described({ type, enum: choices }: IParameter): string {
  if (choices) {
    return `one of ${choices.join(', ')}`;
  }
  return type === 'integer'
    ? 'a whole number of 0 or more'
    : `a text of at most ${LONGEST} characters`;
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}
