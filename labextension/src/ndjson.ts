/** A response of the server with an error status. */
export class OllamaError extends Error {
  constructor(
    readonly status: number,
    message: string
  ) {
    super(message);
    this.name = 'OllamaError';
  }
}

/** Return the error in the body of a response. A proxy's own pages are not JSON. */
export async function errorOf(response: Response): Promise<OllamaError> {
  const text = await response.text();
  try {
    const body = JSON.parse(text);
    const message = body.error ?? body.message;
    if (typeof message === 'string' && message) {
      return new OllamaError(response.status, message);
    }
  } catch {
    // Not JSON: the status line is used.
  }
  return new OllamaError(response.status, `${response.status} ${response.statusText}`.trim());
}

/**
 * Yield the values of a stream of lines. A line with an error raises it.
 *
 * Leaving early cancels the body, which ends the request on the server.
 */
export async function* readLines<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      const lines = rest.split('\n');
      rest = done ? '' : (lines.pop() ?? '');
      for (const line of lines) {
        if (line.trim()) {
          yield parse<T>(line);
        }
      }
      if (done) {
        return;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function parse<T>(line: string): T {
  const value = JSON.parse(line);
  if (typeof value.error === 'string') {
    throw new OllamaError(value.status ?? 500, value.error);
  }
  return value as T;
}
