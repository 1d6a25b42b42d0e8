import { isMode, type Mode } from '../agent/work';

/** The settings of a conversation. What is absent is the model's default. */
export interface IChatSettings {
  /** The text before the conversation that says how to answer. */
  readonly system?: string;
  /** How much chance is in an answer: 0 for none. */
  readonly temperature?: number;
  /** The tokens that the model considers. */
  readonly context?: number;
  /** What the model may do; absent for answers only. */
  readonly mode?: Mode;
}

/** The valid values of a number. */
export interface IRange {
  readonly least: number;
  readonly most: number;
  readonly step: number;
}

/** The ranges of the settings that are numbers. */
export const RANGES: Readonly<Record<'temperature' | 'context', IRange>> = {
  temperature: { least: 0, most: 2, step: 0.1 },
  context: { least: 256, most: 16_777_216, step: 1 }
};
/** The longest system prompt, in characters. */
export const LONGEST_SYSTEM = 20_000;

/** Return whether a number is a valid value of a setting. */
export function isInRange(name: keyof typeof RANGES, value: unknown): value is number {
  const { least, most, step } = RANGES[name];
  return (
    typeof value === 'number' &&
    value >= least &&
    value <= most &&
    (step < 1 || Number.isInteger(value))
  );
}

/** Return the valid settings among some values. */
export function validSettings(values: Readonly<Record<string, unknown>>): IChatSettings {
  const { system, temperature, context, mode } = values;
  return {
    ...(typeof system === 'string' && system.trim()
      ? { system: system.slice(0, LONGEST_SYSTEM) }
      : {}),
    ...(isInRange('temperature', temperature) ? { temperature } : {}),
    ...(isInRange('context', context) ? { context } : {}),
    ...(isMode(mode) && mode !== 'ask' ? { mode } : {})
  };
}

/** Return the options of a request with the settings, if there are any. */
export function optionsOf({ temperature, context }: IChatSettings): {
  options?: { temperature?: number; num_ctx?: number };
} {
  const options = {
    ...(temperature === undefined ? {} : { temperature }),
    ...(context === undefined ? {} : { num_ctx: context })
  };
  return Object.keys(options).length ? { options } : {};
}
