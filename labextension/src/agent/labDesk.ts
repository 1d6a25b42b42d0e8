import type { NotebookPanel } from '@jupyterlab/notebook';

import { CellNames } from './cellNames';
import type { IDesk, IDeskKernel, IProposals, SharedNotebook } from './desk';

/** The parts of a desk that JupyterLab's widgets provide. */
interface IParts {
  readonly proposals: IProposals;
  readonly kernel: IDeskKernel;
}

/** An open notebook of JupyterLab. */
export class LabDesk implements IDesk {
  constructor(
    private readonly _panel: NotebookPanel,
    { proposals, kernel }: IParts
  ) {
    this.proposals = proposals;
    this.kernel = kernel;
    const { model } = _panel.content;
    if (!model) {
      throw new Error('The notebook has no content yet.');
    }
    this.shared = model.sharedModel;
  }

  readonly names = new CellNames();
  readonly proposals: IProposals;
  readonly kernel: IDeskKernel;
  readonly shared: SharedNotebook;

  get key(): object {
    return this._panel.context;
  }

  get path(): string {
    return this._panel.context.path;
  }

  get language(): string {
    return this._panel.model?.getMetadata('language_info')?.name ?? 'python';
  }

  get isOpen(): boolean {
    return !this._panel.isDisposed;
  }

  get isReadOnly(): boolean {
    return !!this._panel.model?.readOnly || this._panel.context.contentsModel?.writable === false;
  }
}
