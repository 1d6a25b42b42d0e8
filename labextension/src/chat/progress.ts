/** The progress of an answer before its first text. */
export interface IProgress {
  readonly status: 'queued' | 'loading' | 'prompt';
  /** The place in the queue. */
  readonly position?: number;
  /** Why an endpoint in a Slurm job does not serve yet. */
  readonly reason?: string;
  /** The tokens of the prompt that are processed, and their total. */
  readonly completed?: number;
  readonly total?: number;
}

/** Return the progress in an event before the first text, or null for text. */
export function progressOf(event: Partial<IProgress>): IProgress | null {
  const { status, position, reason, completed, total } = event;
  return status ? { status, position, reason, completed, total } : null;
}
