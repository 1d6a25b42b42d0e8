/** A model of the public library that is worth a try on a notebook server. */
export interface ILibraryModel {
  readonly name: string;
  readonly size: string;
  readonly use: 'chat' | 'code' | 'embed' | 'vision';
}

/** A short list, so that nothing has to be asked of the net to show it. */
export const LIBRARY: readonly ILibraryModel[] = [
  { name: 'smollm2:135m', size: '271 MB', use: 'chat' },
  { name: 'gemma3:1b', size: '815 MB', use: 'chat' },
  { name: 'llama3.2:3b', size: '2.0 GB', use: 'chat' },
  { name: 'qwen3:4b', size: '2.5 GB', use: 'chat' },
  { name: 'qwen3:8b', size: '5.2 GB', use: 'chat' },
  { name: 'gpt-oss:20b', size: '14 GB', use: 'chat' },
  { name: 'gemma3:4b', size: '3.3 GB', use: 'vision' },
  { name: 'qwen2.5vl:7b', size: '6.0 GB', use: 'vision' },
  { name: 'qwen2.5-coder:1.5b', size: '986 MB', use: 'code' },
  { name: 'qwen2.5-coder:7b', size: '4.7 GB', use: 'code' },
  { name: 'all-minilm', size: '46 MB', use: 'embed' },
  { name: 'nomic-embed-text', size: '274 MB', use: 'embed' }
];
