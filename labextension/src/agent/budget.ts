import type { End, IBounds, IUse } from './work';

const MINUTE = 60_000;

/**
 * The use of a work, and the signal that ends it.
 *
 * Time in which the user is asked does not count.
 */
export class Budget {
  constructor(
    readonly bounds: IBounds,
    stop: AbortSignal
  ) {
    if (stop.aborted) {
      this.end('stopped');
    }
    stop.addEventListener('abort', () => this.end('stopped'), {
      once: true,
      signal: this._closed.signal
    });
    this.resume();
  }

  /** Aborted when the work must end at once: the user stops it, or its time is over. */
  get signal(): AbortSignal {
    return this._controller.signal;
  }

  /** What has been used so far. */
  get use(): IUse {
    return { steps: this._steps, tokens: this._tokens, seconds: Math.round(this.spent / 1000) };
  }

  /** Why the work must end; undefined if it may go on. */
  get over(): End | undefined {
    if (this._reason) {
      return this._reason;
    }
    return this._steps >= this.bounds.steps
      ? 'steps'
      : this._tokens >= this.bounds.tokens
        ? 'tokens'
        : undefined;
  }

  /** The tokens that may still be used. */
  get tokensLeft(): number {
    return Math.max(0, this.bounds.tokens - this._tokens);
  }

  /** Count a call of a tool. */
  countStep(): void {
    this._steps += 1;
  }

  /** Count tokens that the model has read or written. */
  countTokens(tokens: number): void {
    this._tokens += tokens;
  }

  /** Wait for the user; the time does not count. The end of the work ends the wait. */
  async pausedFor<T>(answer: Promise<T>): Promise<T> {
    this.pause();
    try {
      return await answer;
    } finally {
      this.resume();
    }
  }

  /** End the work at once. */
  end(reason: End): void {
    if (!this._reason) {
      this._reason = reason;
      this.pause();
      this._controller.abort(new DOMException(reason, 'AbortError'));
    }
  }

  /** Stop to count. */
  close(): void {
    this.pause();
    this._closed.abort();
  }

  private get spent(): number {
    return this._spent + (this._since === null ? 0 : performance.now() - this._since);
  }

  private pause(): void {
    this._spent = this.spent;
    this._since = null;
    clearTimeout(this._timer);
  }

  private resume(): void {
    if (this._reason || this._closed.signal.aborted) {
      return;
    }
    this._since = performance.now();
    const left = this.bounds.minutes * MINUTE - this._spent;
    // Browsers treat longer times as none.
    this._timer = setTimeout(() => this.end('minutes'), Math.min(left, 2 ** 31 - 1));
  }

  private readonly _controller = new AbortController();
  private readonly _closed = new AbortController();
  private _reason: End | undefined;
  private _steps = 0;
  private _tokens = 0;
  private _spent = 0;
  private _since: number | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
