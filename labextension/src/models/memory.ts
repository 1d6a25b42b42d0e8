import type { TranslationBundle } from '@jupyterlab/translation';
import { useEffect, useState } from 'react';

import type { OllamaApi } from '../api';
import { bytes } from '../sizes';
import { capacityOf, type IMemory, memoryOf } from './fit';

/** The free memory of a server, and the whole of it. */
export interface IServerMemory {
  readonly free: IMemory;
  readonly capacity: IMemory;
}

/** Return the memory of the server, null if it cannot tell, undefined until it has answered. */
export function useMemory(api: OllamaApi): IServerMemory | null | undefined {
  const [memory, setMemory] = useState<IServerMemory | null>();
  useEffect(() => {
    let wanted = true;
    api.devices().then(
      devices => wanted && setMemory({ free: memoryOf(devices), capacity: capacityOf(devices) }),
      () => wanted && setMemory(null)
    );
    return () => {
      wanted = false;
    };
  }, [api]);
  return memory;
}

/** Return the free memory of the server as a sentence. */
export function freeText({ host, gpu }: IMemory, trans: TranslationBundle): string {
  return gpu
    ? trans.__('The server has %1 of free memory, and %2 on GPUs.', bytes(host), bytes(gpu))
    : trans.__('The server has %1 of free memory.', bytes(host));
}
