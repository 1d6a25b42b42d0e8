import type { ChatMessage, CreateRequest } from '../api';

/** The instructions of a Modelfile; `from` and `adapters` name models or files. */
export interface IModelfile {
  from?: string;
  adapters: string[];
  request: Partial<CreateRequest>;
}

const INSTRUCTION =
  /^(FROM|PARAMETER|TEMPLATE|SYSTEM|ADAPTER|LICENSE|MESSAGE|RENDERER|PARSER|REQUIRES)\s+/i;
const LISTS = new Set(['stop']);

/** Parse a Modelfile. Raises an Error with the invalid line. */
export function readModelfile(text: string): IModelfile {
  const file: IModelfile = { adapters: [], request: {} };
  const lines = text.split(/\r?\n/);
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at].trim();
    if (!line || line.startsWith('#')) {
      continue;
    }
    const found = INSTRUCTION.exec(line);
    if (!found) {
      throw new Error(`Line ${at + 1}: no such instruction: ${line.split(/\s/)[0]}`);
    }
    let value = line.slice(found[0].length);
    const fence = value.indexOf('"""');
    if (fence >= 0) {
      const before = value.slice(0, fence);
      let quoted = value.slice(fence + 3);
      const first = at;
      while (!quoted.includes('"""')) {
        if (++at >= lines.length) {
          throw new Error(`Line ${first + 1}: """ is not closed`);
        }
        quoted += `\n${lines[at]}`;
      }
      value = before + quoted.slice(0, quoted.indexOf('"""'));
    } else {
      value = unquote(value);
    }
    take(file, found[1].toUpperCase(), value);
  }
  return file;
}

function take(file: IModelfile, instruction: string, value: string): void {
  const { request } = file;
  const [first, ...rest] = value.split(/\s+/);
  switch (instruction) {
    case 'FROM':
      file.from = value;
      break;
    case 'ADAPTER':
      file.adapters.push(value);
      break;
    case 'PARAMETER':
      request.parameters = withParameter(
        request.parameters ?? {},
        first,
        value.slice(first.length)
      );
      break;
    case 'MESSAGE':
      request.messages = [
        ...(request.messages ?? []),
        {
          role: first.toLowerCase() as ChatMessage['role'],
          content: unquote(value.slice(first.length).trim() || rest.join(' '))
        }
      ];
      break;
    case 'LICENSE':
      request.license = [...(request.license ?? []), value];
      break;
    default:
      Object.assign(request, { [instruction.toLowerCase()]: value });
  }
}

function withParameter(
  parameters: Record<string, unknown>,
  name: string,
  text: string
): Record<string, never> {
  const raw = unquote(text.trim());
  const value = LISTS.has(name) ? raw : scalar(raw);
  const known = parameters[name] as unknown[] | undefined;
  const kept = LISTS.has(name) ? [...(known ?? []), value] : value;
  return { ...parameters, [name]: kept } as Record<string, never>;
}

function scalar(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') {
    return text === 'true';
  }
  return text !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
}

function unquote(text: string): string {
  return /^".*"$/s.test(text) && text.length > 1 ? text.slice(1, -1) : text;
}
