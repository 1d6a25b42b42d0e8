import type { TranslationBundle } from '@jupyterlab/translation';
import { useEffect, useState } from 'react';

import { bytes } from '../sizes';
import type { IProgress } from './progress';

/** Milliseconds until a load is shown; a loaded model answers sooner. */
const PATIENCE = 300;

export interface IWaitingProps {
  progress: IProgress | null;
  model: string;
  /** The size of the model's files in bytes, if known. */
  size?: number;
  /** The time of the request, in milliseconds of `performance.now`. */
  since: number;
  trans: TranslationBundle;
}

/** The progress of an answer without text; a load shows the seconds. */
export function Waiting(props: IWaitingProps): React.ReactElement {
  const waited = useTimeSince(props.since);
  const { progress, trans } = props;
  const isShort = progress?.status === 'loading' && waited < PATIENCE;
  const seconds = progress?.status === 'loading' ? Math.floor(waited / 1000) : 0;
  return (
    <p className="jpo-detail" role="status">
      {waitsFor({ ...props, progress: isShort ? null : progress })}
      {/* A screen reader would read out every second. */}
      {seconds > 0 && <span aria-hidden="true">{trans.__(' %1 s', seconds)}</span>}
    </p>
  );
}

function waitsFor({ progress, model, size, trans }: IWaitingProps): string {
  const name = model.replace(/:latest$/, '');
  if (progress?.reason) {
    return trans.__('Waiting: %1', progress.reason);
  }
  switch (progress?.status) {
    case 'queued':
      return trans.__('Waiting, place %1', progress.position ?? '');
    case 'loading':
      return size ? trans.__('loading %1, %2…', name, bytes(size)) : trans.__('loading %1…', name);
    case 'prompt': {
      const { completed = 0, total } = progress;
      return total
        ? trans.__('Reading, %1 %…', Math.floor((100 * completed) / total))
        : trans.__('Reading…');
    }
    default:
      return trans.__('Waiting…');
  }
}

/** Return the elapsed milliseconds: updated once after the delay, then every second. */
function useTimeSince(since: number): number {
  const [waited, setWaited] = useState(0);
  useEffect(() => {
    const look = () => {
      const now = performance.now() - since;
      setWaited(now);
      timer = setTimeout(look, now < PATIENCE ? PATIENCE - now : 1000 - (now % 1000));
    };
    let timer = setTimeout(look);
    return () => clearTimeout(timer);
  }, [since]);
  return waited;
}
