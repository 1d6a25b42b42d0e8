import { Stream } from '@lumino/signaling';

import type { OllamaApi, StatusEvent } from '../api';
import { readModelfile } from './modelfile';

const CHUNK = 8 * 2 ** 20;

/** The input of the form for a new model. */
export interface ICreation {
  name: string;
  modelfile: string;
  files: readonly File[];
  quantize?: string;
}

/** Upload the files and create the model. */
export async function* makeModel(
  api: OllamaApi,
  creation: ICreation,
  signal: AbortSignal
): AsyncGenerator<StatusEvent> {
  const { from, adapters, request } = readModelfile(creation.modelfile);
  const digests = new Map<string, string>();
  for (const file of creation.files) {
    digests.set(file.name, yield* upload(api, file, signal));
  }
  const chosen = (path: string) => digests.get(path.split(/[\\/]/).pop() ?? '');
  const lora = Object.fromEntries(adapters.map(path => [path, required(path, chosen(path))]));
  const base = from !== undefined && !chosen(from) && !/\.(gguf|safetensors)$/i.test(from);
  if (from !== undefined && !base) {
    required(from, chosen(from));
  }
  const files = Object.fromEntries([...digests].filter(([name]) => !isAdapter(name, adapters)));
  yield* api.create(
    {
      ...request,
      model: creation.name,
      ...(creation.quantize ? { quantize: creation.quantize } : {}),
      ...(base ? { from } : { files }),
      ...(adapters.length ? { adapters: lora } : {})
    },
    signal
  );
}

function isAdapter(name: string, adapters: readonly string[]): boolean {
  return adapters.some(path => path.split(/[\\/]/).pop() === name);
}

function required(path: string, digest: string | undefined): string {
  if (!digest) {
    throw new Error(`Choose the file ${path}`);
  }
  return digest;
}

async function* upload(
  api: OllamaApi,
  file: File,
  signal: AbortSignal
): AsyncGenerator<StatusEvent, string> {
  // Loaded when it is needed: Lab would start later with it.
  const [{ sha256 }, { bytesToHex }] = await Promise.all([
    import('@noble/hashes/sha2.js'),
    import('@noble/hashes/utils.js')
  ]);
  const hash = sha256.create();
  for (let start = 0; start < file.size; start += CHUNK) {
    signal.throwIfAborted();
    hash.update(new Uint8Array(await file.slice(start, start + CHUNK).arrayBuffer()));
    const completed = Math.min(start + CHUNK, file.size);
    yield { status: `reading ${file.name}`, digest: file.name, total: file.size, completed };
  }
  const digest = `sha256:${bytesToHex(hash.digest())}`;
  if (!(await api.hasBlob(digest))) {
    const status = `uploading ${file.name}`;
    const steps = new Stream<File, StatusEvent>(file);
    const sent = api
      .upload(digest, file, signal, completed =>
        steps.emit({ status, digest: file.name, total: file.size, completed })
      )
      .finally(() => steps.stop());
    yield { status, digest: file.name, total: file.size, completed: 0 };
    yield* steps;
    await sent;
  }
  return digest;
}
