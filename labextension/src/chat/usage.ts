import type { TranslationBundle } from '@jupyterlab/translation';

import type { ChatEvent } from '../api';

/** What an answer took. */
export interface IUsage {
  /** The tokens of the prompt. */
  readonly read?: number;
  /** How many of these were in the cache. */
  readonly cached?: number;
  /** The tokens of the answer. */
  readonly written?: number;
  readonly perSecond?: number;
  /** Seconds from the request to the first text. */
  readonly firstAfter?: number;
  /** The tokens of the prompt that did not fit and were left out. */
  readonly leftOut?: number;
}

/** Return the counts and times in the last event of an answer. */
export function usageOf(event: ChatEvent, firstAfter: number | undefined): IUsage {
  const { eval_count: written, eval_duration: duration, truncated } = event;
  return {
    ...(event.prompt_eval_count === undefined ? {} : { read: event.prompt_eval_count }),
    ...(event.prompt_eval_cached_count ? { cached: event.prompt_eval_cached_count } : {}),
    ...(written === undefined ? {} : { written }),
    ...(written && duration ? { perSecond: (1e9 * written) / duration } : {}),
    ...(firstAfter === undefined ? {} : { firstAfter }),
    ...(truncated ? { leftOut: truncated } : {})
  };
}

/** Return the counts and times of an answer in one line. */
export function usageLine(usage: IUsage, trans: TranslationBundle): string {
  const { read, cached, written, perSecond, firstAfter, leftOut } = usage;
  const parts: string[] = [];
  if (read !== undefined) {
    parts.push(
      cached
        ? trans.__('%1 tokens read, %2 of them cached', grouped(read), grouped(cached))
        : trans.__('%1 tokens read', grouped(read))
    );
  }
  if (leftOut) {
    parts.push(trans.__('the oldest %1 left out', grouped(leftOut)));
  }
  if (written !== undefined) {
    parts.push(trans.__('%1 written', grouped(written)));
  }
  if (perSecond !== undefined) {
    parts.push(trans.__('%1 tokens/s', rounded(perSecond)));
  }
  if (firstAfter !== undefined) {
    parts.push(trans.__('first after %1 s', rounded(firstAfter)));
  }
  // The line wraps between its parts, after a dot.
  return parts.map(part => part.replace(/ /g, '\u00a0')).join('\u00a0· ');
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}

function rounded(value: number): string {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}
