import type { TranslationBundle } from '@jupyterlab/translation';

import models from './library.json';

/** A use of a model in the list. */
export type Use = 'chat' | 'thinking' | 'images' | 'audio' | 'code' | 'embeddings';

/**
 * A model of Ollama's public library that suits a notebook server.
 *
 * `architecture` is the architecture of its GGUF file, `layout` the project whose tensor layout the
 * file has: files in Ollama's own layout are translated when they are loaded. `size` is the download.
 */
export interface ILibraryModel {
  readonly name: string;
  readonly architecture: string;
  readonly layout: 'llama.cpp' | 'ollama';
  readonly size: string;
  readonly uses: readonly Use[];
}

/** A short list, so that showing it needs no request to the internet. */
export const LIBRARY = models as readonly ILibraryModel[];

/** Return the models whose names and uses contain all words of a search. */
export function matching(
  models: readonly ILibraryModel[],
  search: string,
  trans: TranslationBundle
): readonly ILibraryModel[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return models.filter(model => {
    const text = `${model.name} ${description(model, trans)}`.toLowerCase();
    return words.every(word => text.includes(word));
  });
}

/** Return whether a model of the list is among installed ones, whose names have a tag. */
export function isInstalled({ name }: ILibraryModel, installed: ReadonlySet<string>): boolean {
  return installed.has(name.includes(':') ? name : `${name}:latest`);
}

/** Return the uses and the download size of a model in the list, as text. */
export function description(model: ILibraryModel, trans: TranslationBundle): string {
  const names: Record<Use, string> = {
    chat: trans.__('chat'),
    thinking: trans.__('thinking'),
    images: trans.__('images'),
    audio: trans.__('audio'),
    code: trans.__('code'),
    embeddings: trans.__('embeddings')
  };
  return `${model.uses.map(use => names[use]).join(', ')} · ${model.size}`;
}
