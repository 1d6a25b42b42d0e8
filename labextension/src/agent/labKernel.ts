import { CodeCell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';

import { scopeOf } from '../context/scope';
import type { IDeskKernel } from './desk';
import { ToolError } from './tools/tool';
import { unlessAborted } from './unlessAborted';

/** The kernel of an open notebook. */
export class LabKernel implements IDeskKernel {
  constructor(private readonly _panel: NotebookPanel) {}

  get problem(): string | undefined {
    const { sessionContext } = this._panel;
    if (!this.connection || sessionContext.isTerminating) {
      return 'the notebook has no kernel';
    }
    return sessionContext.pendingInput ? 'the kernel waits for an input of the user' : undefined;
  }

  async idle(signal: AbortSignal): Promise<void> {
    const kernel = this.connection;
    if (!kernel || isFree(kernel)) {
      return;
    }
    let done = () => undefined as void;
    const free = new Promise<void>(resolve => {
      done = () => {
        if (kernel.isDisposed || isFree(kernel)) {
          resolve();
        }
      };
    });
    kernel.statusChanged.connect(done);
    kernel.disposed.connect(done);
    try {
      await unlessAborted(free, signal);
    } finally {
      kernel.statusChanged.disconnect(done);
      kernel.disposed.disconnect(done);
    }
  }

  async run(id: string, code: string, signal: AbortSignal): Promise<boolean> {
    const { content, sessionContext } = this._panel;
    const cell = content.widgets.find(one => one.model.id === id);
    const kernel = this.connection;
    if (!(cell instanceof CodeCell) || !kernel) {
      throw new ToolError('The cell cannot run: its notebook has no kernel.');
    }
    signal.throwIfAborted();
    // `execute` reads the text before it returns, so nothing can change between the two.
    if (cell.model.sharedModel.getSource() !== code) {
      return false;
    }
    const { recordTiming } = content.notebookConfig;
    const running = CodeCell.execute(cell, sessionContext, { recordTiming });
    const interrupt = () => void kernel.interrupt().catch(() => undefined);
    signal.addEventListener('abort', interrupt, { once: true });
    try {
      await running;
    } catch {
      throw new ToolError('The run has no result: the kernel has ended, or the cell was deleted.');
    } finally {
      signal.removeEventListener('abort', interrupt);
    }
    return true;
  }

  async describe(name: string): Promise<string> {
    const found = await scopeOf(this._panel.sessionContext).describe(name);
    if (typeof found === 'object') {
      if (found.text === undefined) {
        throw new ToolError(found.error ?? `There is no variable ${name}.`);
      }
      return found.text;
    }
    const reasons: Readonly<Record<typeof found, string>> = {
      busy: 'The kernel is busy. Try it after the running cell has ended.',
      missing: 'The kernel lacks the package jupyter_ollama_magics, which describes variables.',
      failed: 'The variable cannot be described.',
      none: 'The notebook has no kernel.',
      language: 'Only variables of Python can be described.'
    };
    throw new ToolError(reasons[found]);
  }

  private get connection(): Kernel.IKernelConnection | null | undefined {
    return this._panel.sessionContext.session?.kernel;
  }
}

/** Whether a kernel would run a cell now. A kernel that is starting is not busy with others. */
function isFree({ status }: Kernel.IKernelConnection): boolean {
  return status !== 'busy' && status !== 'starting' && status !== 'restarting';
}
