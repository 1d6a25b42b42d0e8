import type { Device } from '../api';
import type { ILibraryModel } from './library';

/** Free bytes of the server: in the memory of its host, and on its GPUs together. */
export interface IMemory {
  readonly host: number;
  readonly gpu: number;
}

const UNITS: Readonly<Record<string, number>> = { MB: 1e6, GB: 1e9 };
/** The process of a model, and the buffers of its context. */
const OVERHEAD = 300e6;
/** The memory of a model per byte of its file: its weights and a context of some length. */
const SHARE = 1.2;
/** The largest file that answers at the speed of a reader on the processor of a small host. */
const COMFORTABLE = 1.2e9;

/** Return the free memory of devices. */
export function memoryOf(devices: readonly Device[]): IMemory {
  const sum = (isCpu: boolean) =>
    devices.filter(one => one.is_cpu === isCpu).reduce((bytes, one) => bytes + one.free, 0);
  return { host: sum(true), gpu: sum(false) };
}

/** Return the whole memory of devices, free or not. */
export function capacityOf(devices: readonly Device[]): IMemory {
  return memoryOf(devices.map(one => ({ ...one, free: one.total })));
}

/** Return about how many bytes of memory a model needs. */
export function needs(model: ILibraryModel): number {
  return SHARE * fileSize(model) + OVERHEAD;
}

/** Return whether a model fits; its layers may be spread over GPUs and the host. */
export function fits(model: ILibraryModel, memory: IMemory): boolean {
  return needs(model) <= memory.host + memory.gpu;
}

/** Where a model fits: on the GPUs, in the free memory, once memory is freed, or not at all. */
export type Fit = 'gpu' | 'free' | 'busy' | 'never';

/** Return where a model fits in the free memory of a server, and in the whole of it. */
export function fitOf(model: ILibraryModel, free: IMemory, capacity: IMemory): Fit {
  if (needs(model) <= free.gpu) {
    return 'gpu';
  }
  if (fits(model, free)) {
    return 'free';
  }
  return fits(model, capacity) ? 'busy' : 'never';
}

/**
 * Return the chat model to start with; undefined if none fits.
 *
 * It is the largest one that fits on the GPUs. Without them it is the largest one that does not
 * think before it answers, takes at most half of the memory, and is small enough for a processor.
 */
export function recommended(
  models: readonly ILibraryModel[],
  memory: IMemory
): ILibraryModel | undefined {
  const chatting = models.filter(one => one.uses.includes('chat'));
  const largest = (some: readonly ILibraryModel[]) =>
    [...some].sort((a, b) => fileSize(b) - fileSize(a))[0] as ILibraryModel | undefined;
  const onProcessor = chatting.filter(
    one => !one.uses.includes('thinking') && fileSize(one) <= COMFORTABLE
  );
  return (
    largest(chatting.filter(one => needs(one) <= memory.gpu)) ??
    largest(onProcessor.filter(one => needs(one) <= memory.host / 2)) ??
    smallest(chatting.filter(one => fits(one, memory)))
  );
}

function smallest(some: readonly ILibraryModel[]): ILibraryModel | undefined {
  return [...some].sort((a, b) => fileSize(a) - fileSize(b))[0];
}

/** Return the bytes of a model's file. */
function fileSize({ size }: ILibraryModel): number {
  const [number, unit] = size.split(' ');
  return Number(number) * UNITS[unit];
}
