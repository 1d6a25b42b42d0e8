import type { Kernel } from '@jupyterlab/services';

/** Milliseconds to wait for a kernel that may be busy. */
const PATIENCE = 2000;

/** Return the text of the value of a Python expression; undefined if a kernel does not tell. */
export async function evaluate(
  kernel: Kernel.IKernelConnection,
  expression: string,
  patience = PATIENCE
): Promise<string | undefined> {
  const future = kernel.requestExecute(
    { code: '', silent: true, store_history: false, user_expressions: { value: expression } },
    true
  );
  const late = new Promise<undefined>(resolve => setTimeout(() => resolve(undefined), patience));
  const reply = await Promise.race([future.done.catch(() => undefined), late]);
  if (reply?.content.status !== 'ok') {
    return undefined;
  }
  const found = reply.content.user_expressions.value as {
    data?: Record<string, string>;
  };
  return found.data?.['text/plain'];
}
