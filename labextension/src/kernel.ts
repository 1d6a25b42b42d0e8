import type { INotebookTracker } from '@jupyterlab/notebook';
import type { Kernel, KernelMessage } from '@jupyterlab/services';

/** Milliseconds to wait for a kernel that may be busy. */
const PATIENCE = 2000;

/** Why a kernel gave no answer: it is busy, lacks the package of the magics, or failed. */
export type KernelFailure = 'busy' | 'missing' | 'failed';

/** The answer of a kernel in JSON, or the reason why there is none. */
export type KernelAnswer<T> =
  { readonly data: T } | { readonly failure: KernelFailure; readonly reason: string };

interface IUserExpression {
  readonly status?: string;
  readonly ename?: string;
  readonly evalue?: string;
  readonly data?: Record<string, unknown>;
}

/** Return the text of the value of a Python expression; undefined if a kernel gives none. */
export async function evaluate(
  kernel: Kernel.IKernelConnection,
  expression: string,
  patience = PATIENCE
): Promise<string | undefined> {
  const found = await valueOf(kernel, expression, patience);
  return found?.data?.['text/plain'] as string | undefined;
}

/** Return the JSON value of a Python expression, or why there is none. */
export async function ask<T>(
  kernel: Kernel.IKernelConnection,
  expression: string,
  patience = PATIENCE
): Promise<KernelAnswer<T>> {
  const found = await valueOf(kernel, expression, patience);
  const data = found?.data?.['application/json'];
  if (data !== undefined) {
    return { data: data as T };
  }
  if (!found) {
    return { failure: 'busy', reason: '' };
  }
  const { ename = '', evalue = '' } = found;
  const isMissing = ename === 'ModuleNotFoundError' || ename === 'ImportError';
  return { failure: isMissing ? 'missing' : 'failed', reason: `${ename}: ${evalue}` };
}

async function valueOf(
  kernel: Kernel.IKernelConnection,
  expression: string,
  patience: number
): Promise<IUserExpression | undefined> {
  const future = kernel.requestExecute(
    { code: '', silent: true, store_history: false, user_expressions: { value: expression } },
    true
  );
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(() => resolve(undefined), patience);
  });
  const reply = await Promise.race([future.done.catch(() => undefined), late]);
  clearTimeout(timer);
  if (reply?.content.status !== 'ok') {
    return undefined;
  }
  const { user_expressions: values } = reply.content as KernelMessage.IExecuteReply & {
    user_expressions: Record<string, IUserExpression | undefined>;
  };
  return values.value;
}

/** Return the language of the current notebook. */
export function languageIn(notebooks: INotebookTracker | null): string {
  const info = notebooks?.currentWidget?.model?.getMetadata('language_info');
  return info?.name ?? 'python';
}
