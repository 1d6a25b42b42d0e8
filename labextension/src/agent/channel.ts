/** Values that one side sends and the other iterates over, in order. */
export class Channel<T> {
  /** Send a value. */
  send(value: T): void {
    this._waiting.push(value);
    this._wake();
  }

  /** End the iteration after the values sent so far, with an error if one is given. */
  close(error?: unknown): void {
    this._isClosed = true;
    this._error = error;
    this._wake();
  }

  /** Yield the values until the end. */
  async *values(): AsyncGenerator<T> {
    for (;;) {
      const arrived = new Promise<void>(resolve => (this._wake = resolve));
      for (let value = this._waiting.shift(); value !== undefined; value = this._waiting.shift()) {
        yield value;
      }
      if (this._isClosed && !this._waiting.length) {
        if (this._error !== undefined) {
          throw this._error;
        }
        return;
      }
      if (!this._waiting.length) {
        await arrived;
      }
    }
  }

  private readonly _waiting: T[] = [];
  private _isClosed = false;
  private _error: unknown;
  private _wake: () => void = () => undefined;
}
