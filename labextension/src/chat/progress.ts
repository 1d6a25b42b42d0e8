import type { TranslationBundle } from '@jupyterlab/translation';

/** What happens before the first text of an answer. */
export interface IProgress {
  readonly status: 'queued' | 'loading' | 'prompt';
  readonly position?: number;
}

/** Say what happens before the first text of an answer. */
export function saidOf(progress: IProgress | null, trans: TranslationBundle): string {
  switch (progress?.status) {
    case 'queued':
      return trans.__('Waiting, place %1', progress.position ?? '');
    case 'loading':
      return trans.__('Loading the model…');
    case 'prompt':
      return trans.__('Reading…');
    default:
      return trans.__('Waiting…');
  }
}
