import { readWork, savedWork } from '../../agent/savedWork';
import type { IAttachment, ISource, ITurn } from '../conversation';
import { type IChatSettings, validSettings } from '../settings';
import type { IUsage } from '../usage';

/** The version of the form in which conversations are saved. */
export const VERSION = 1;
/** The longest image that is saved, in characters of base64. */
const LARGEST_IMAGE = 100_000;
/** The longest conversation that is saved, in bytes; the server refuses more than 2 ** 20. */
const LARGEST = 1_000_000;
const LONGEST_NAME = 100;
const ID = /^[a-z0-9][a-z0-9-]{7,63}$/;

/** A saved conversation. */
export interface IRecord {
  readonly version: number;
  readonly id: string;
  /** The number of times that it has been saved. */
  readonly revision: number;
  /** The name that the user has given, empty for a name from the first question. */
  readonly name: string;
  /** The model of the next answers, empty for the default. */
  readonly model: string;
  /** The time of the last change, in milliseconds since 1970. */
  readonly changed: number;
  readonly settings: IChatSettings;
  readonly turns: readonly ITurn[];
}

/** Read a saved conversation. Undefined if it has another shape or is of a later version. */
export function readRecord(value: unknown): IRecord | undefined {
  if (!isObject(value) || value.version !== VERSION || !ID.test(text(value.id))) {
    return undefined;
  }
  return {
    version: VERSION,
    id: text(value.id),
    revision: count(value.revision) ?? 0,
    name: cleanName(text(value.name)),
    model: text(value.model),
    changed: count(value.changed) ?? 0,
    settings: validSettings(isObject(value.settings) ? value.settings : {}),
    turns: readTurns(value.turns)
  };
}

/** Read the turns of a saved conversation, without those of another shape. */
export function readTurns(value: unknown): ITurn[] {
  return Array.isArray(value) ? value.flatMap(one => readTurn(one) ?? []) : [];
}

/** Return a name in one line, cut to the longest. */
export function cleanName(name: string): string {
  return name.replace(/\s+/g, ' ').trim().slice(0, LONGEST_NAME);
}

/**
 * Return the JSON of a conversation to save.
 *
 * Large images are left out; if it is still too long, all images, then all attachments. Raises
 * RangeError if the text alone is too long.
 */
export function writeRecord(record: IRecord): string {
  const stages: ((one: IAttachment) => boolean)[] = [
    one => one.kind === 'image' && one.content.length > LARGEST_IMAGE,
    one => one.kind === 'image',
    () => true
  ];
  for (const leaves of stages) {
    const turns = record.turns.map(turn => withSavedWork(without(turn, leaves)));
    const json = JSON.stringify({ ...record, turns });
    if (new Blob([json]).size <= LARGEST) {
      return json;
    }
  }
  throw new RangeError('The conversation is too long to be saved.');
}

function without(turn: ITurn, leaves: (attachment: IAttachment) => boolean): ITurn {
  return turn.attachments?.some(leaves)
    ? {
        ...turn,
        attachments: turn.attachments.map(one =>
          leaves(one) ? { ...one, content: '', isLeftOut: true } : one
        )
      }
    : turn;
}

function withSavedWork(turn: ITurn): ITurn {
  return turn.work ? { ...turn, work: savedWork(turn.work) } : turn;
}

function readTurn(value: unknown): ITurn | undefined {
  if (!isObject(value) || typeof value.content !== 'string') {
    return undefined;
  }
  const { role, content, toolCalls, attachments } = value;
  if (role !== 'user' && role !== 'assistant') {
    return undefined;
  }
  const calls = (Array.isArray(toolCalls) ? toolCalls : []).filter(
    call => isObject(call) && isObject(call.function) && typeof call.function.name === 'string'
  );
  const attached = (Array.isArray(attachments) ? attachments : []).flatMap(
    one => readAttachment(one) ?? []
  );
  const work = readWork(value.work);
  return {
    role,
    content,
    ...(work ? { work } : {}),
    ...strings(value, ['thinking', 'model', 'error']),
    ...(calls.length ? { toolCalls: calls } : {}),
    ...(attached.length ? { attachments: attached } : {}),
    ...(value.stopped === true ? { stopped: true } : {}),
    ...(value.isCutOff === true ? { isCutOff: true } : {}),
    ...(isObject(value.usage) ? { usage: readUsage(value.usage) } : {})
  };
}

function readAttachment(value: unknown): IAttachment | undefined {
  if (!isObject(value) || typeof value.content !== 'string' || typeof value.name !== 'string') {
    return undefined;
  }
  const { kind, name, content, source } = value;
  if (kind !== 'text' && kind !== 'image') {
    return undefined;
  }
  return {
    kind,
    name,
    content,
    ...strings(value, ['language']),
    ...(isObject(source) ? { source: strings(source, ['path', 'cell', 'url']) as ISource } : {}),
    ...(value.isLeftOut === true ? { isLeftOut: true } : {})
  };
}

function readUsage(value: Readonly<Record<string, unknown>>): IUsage {
  const names = ['read', 'cached', 'written', 'perSecond', 'firstAfter', 'leftOut'] as const;
  return Object.fromEntries(
    names.flatMap(name => (count(value[name]) === undefined ? [] : [[name, value[name]]]))
  );
}

function strings(
  value: Readonly<Record<string, unknown>>,
  names: readonly string[]
): Record<string, string> {
  return Object.fromEntries(
    names.flatMap(name => (typeof value[name] === 'string' ? [[name, value[name] as string]] : []))
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}
