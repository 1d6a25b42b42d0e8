import { describe, expect, it } from 'vitest';

import { errorOf, OllamaError, readLines } from '../src/ndjson';

function streamOf(chunks: Uint8Array[], onCancel?: () => void): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull: controller => {
      if (at < chunks.length) {
        controller.enqueue(chunks[at++]);
      } else {
        controller.close();
      }
    },
    cancel: onCancel
  });
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const value of values) {
    read.push(value);
  }
  return read;
}

describe('readLines', () => {
  const text = '{"response":"grün \u{1F30D}"}\r\n\n{"response":"b"}\n{"done":true}';
  const bytes = new TextEncoder().encode(text);
  const values = [{ response: 'grün \u{1F30D}' }, { response: 'b' }, { done: true }];

  it('reads the same wherever the bytes are split', async () => {
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second += 3) {
        const chunks = [
          bytes.slice(0, first),
          bytes.slice(first, second),
          bytes.slice(second)
        ].filter(chunk => chunk.length);
        expect(await all(readLines(streamOf(chunks)))).toEqual(values);
      }
    }
  });

  it('reads one byte at a time', async () => {
    const chunks = [...bytes].map(byte => Uint8Array.of(byte));
    expect(await all(readLines(streamOf(chunks)))).toEqual(values);
  });

  it('raises the error of a line after yielding the lines before it', async () => {
    const body = new TextEncoder().encode('{"a":1}\n{"error":"out of memory"}\n{"a":2}\n');
    const read: unknown[] = [];
    const reading = (async () => {
      for await (const value of readLines(streamOf([body]))) {
        read.push(value);
      }
    })();
    await expect(reading).rejects.toThrow(new OllamaError(500, 'out of memory'));
    expect(read).toEqual([{ a: 1 }]);
  });

  it('cancels the body when its reader leaves early', async () => {
    let cancelled = false;
    const chunk = new TextEncoder().encode('{"a":1}\n');
    const body = streamOf(Array(100).fill(chunk), () => (cancelled = true));
    for await (const value of readLines(body)) {
      expect(value).toEqual({ a: 1 });
      break;
    }
    expect(cancelled).toBe(true);
  });
});

describe('errorOf', () => {
  it.each([
    ['{"error":"model \'x\' not found"}', "model 'x' not found"],
    ['{"message":"Forbidden"}', 'Forbidden'],
    ['<html>Bad gateway</html>', '502 Bad Gateway']
  ])('reads %s', async (body, message) => {
    const response = new Response(body, { status: 502, statusText: 'Bad Gateway' });
    const error = await errorOf(response);
    expect([error.status, error.message]).toEqual([502, message]);
  });
});
