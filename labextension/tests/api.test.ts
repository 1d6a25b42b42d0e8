import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { OllamaApi } from '../src/api';
import { ServerWatch } from '../src/watch';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let server: Server;
let answer: Answer;
let api: OllamaApi;

beforeEach(async () => {
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  api = new OllamaApi(
    (path, init) => fetch(`${url}/${path}`, init),
    (path, body, signal) => fetch(`${url}/${path}`, { method: 'POST', body, signal })
  );
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

describe('OllamaApi', () => {
  it('closes the connection on an abort in the middle of an answer', async () => {
    const gone = new Promise<void>(resolve => {
      answer = (_, response) => {
        response.on('close', resolve);
        response.write('{"response":"a","done":false}\n');
      };
    });
    const controller = new AbortController();
    const read = (async () => {
      for await (const event of api.generate({ model: 'm' }, controller.signal)) {
        expect(event.response).toBe('a');
        controller.abort();
      }
    })();
    await expect(read).rejects.toThrow();
    await gone;
  });

  it('reads permissions from the server of the models and grants those that it does not report', async () => {
    const asked: string[] = [];
    let rights: object | undefined = { run: true, manage: false, admin: false };
    answer = (request, response) => {
      asked.push(request.url ?? '');
      response.end(JSON.stringify({ user: 'ann', rights }));
    };
    expect([await api.may('run'), await api.may('manage')]).toEqual([true, false]);
    rights = undefined;
    expect(await api.may('manage')).toBe(true);
    expect(new Set(asked)).toEqual(new Set(['/ollama/usage?no_track_activity=1']));
  });

  it('sends no request that is already aborted', async () => {
    answer = () => expect.unreachable();
    const stream = api.generate({ model: 'm' }, AbortSignal.abort());
    await expect(stream.next()).rejects.toThrow();
  });

  it('reports the error of the server', async () => {
    answer = (_, response) => {
      response.writeHead(404, { 'Content-Type': 'application/json' });
      response.end('{"error":"model \'m\' not found"}');
    };
    await expect(api.show('m')).rejects.toMatchObject({
      status: 404,
      message: "model 'm' not found"
    });
  });

  it('requests lists without counting as activity', async () => {
    const asked: string[] = [];
    answer = (request, response) => {
      asked.push(request.url ?? '');
      response.end('{"models":[],"requests":[]}');
    };
    await api.tags();
    await api.loaded();
    await api.requests();
    expect(asked).toEqual([
      '/ollama/api/tags?no_track_activity=1',
      '/ollama/api/ps?no_track_activity=1',
      '/ollama/api/requests?no_track_activity=1'
    ]);
  });
});

describe('ServerWatch', () => {
  const listing = { loaded: vi.fn(), requests: vi.fn(), tags: vi.fn() };
  let away = false;
  let watch: ServerWatch;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('requestAnimationFrame', (run: () => void) => setTimeout(run, 0));
    vi.stubGlobal('cancelAnimationFrame', clearTimeout);
    away = false;
    listing.loaded.mockReset().mockResolvedValue([]);
    listing.requests.mockReset().mockResolvedValue([]);
    listing.tags.mockReset().mockResolvedValue([]);
    watch = new ServerWatch({
      api: listing as unknown as OllamaApi,
      interval: 1000,
      isPaused: () => away
    });
  });

  afterEach(() => {
    watch.dispose();
    vi.restoreAllMocks();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('polls while a component watches and the page is visible', async () => {
    await vi.advanceTimersByTimeAsync(5000);
    expect(listing.loaded).not.toHaveBeenCalled();
    const watching = watch.watch();
    await vi.advanceTimersByTimeAsync(3500);
    const seen = listing.loaded.mock.calls.length;
    expect(seen).toBeGreaterThanOrEqual(3);
    expect(listing.tags).not.toHaveBeenCalled();
    away = true;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(listing.loaded).toHaveBeenCalledTimes(seen);
    away = false;
    await vi.advanceTimersByTimeAsync(1500);
    expect(listing.loaded.mock.calls.length).toBeGreaterThan(seen);
    watching.dispose();
    const last = listing.loaded.mock.calls.length;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(listing.loaded).toHaveBeenCalledTimes(last);
  });

  it('polls less and less often while the server is down', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5); // the delays are random
    listing.loaded.mockRejectedValue(new TypeError('Failed to fetch'));
    watch.watch();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(watch.state.server).toBe('down');
    expect(listing.loaded.mock.calls.length).toBeLessThan(20);
    listing.loaded.mockResolvedValue([]);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(watch.state.server).toBe('up');
  });

  it('polls once if the server lacks the extension', async () => {
    const { OllamaError } = await import('../src/ndjson');
    listing.loaded.mockRejectedValue(new OllamaError(404, 'Not Found'));
    watch.watch();
    watch.watch(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(watch.state.server).toBe('missing');
    expect(listing.loaded.mock.calls.length).toBeLessThanOrEqual(2);
  });

  it('emits changes only', async () => {
    const listener = vi.fn();
    watch.changed.connect(listener);
    watch.watch(true);
    await vi.advanceTimersByTimeAsync(5000);
    expect(listener).toHaveBeenCalledTimes(1);
    expect(listing.tags).toHaveBeenCalled();
  });
});
