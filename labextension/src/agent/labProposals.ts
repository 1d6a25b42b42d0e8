import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import {
  type IProposalOptions,
  proposeDeletion,
  proposeNewCell,
  proposeSource,
  type Outcome
} from '../diff';
import type { CellType, Decision, IProposals, IProposer } from './desk';
import { ToolError } from './tools/tool';

/** Shows proposed changes as diffs in an open notebook. */
export class LabProposals implements IProposals {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _trans: TranslationBundle
  ) {}

  async edit(id: string, source: string, proposer: IProposer): Promise<Decision> {
    const cell = this.widgetOf(id);
    return decisionOf(await shown(proposeSource(cell, source, this.optionsFor(proposer))));
  }

  async add(
    index: number,
    type: CellType,
    source: string,
    proposer: IProposer
  ): Promise<string | undefined> {
    const { content } = this._panel;
    this.scrollTo(Math.max(0, index - 1));
    const options = this.optionsFor(proposer);
    const { cell } = await shown(proposeNewCell(content, index, type, source, options));
    return cell?.model.id;
  }

  async delete(id: string, proposer: IProposer): Promise<Decision> {
    const cell = this.widgetOf(id);
    const { content } = this._panel;
    return decisionOf(await shown(proposeDeletion(content, cell, this.optionsFor(proposer))));
  }

  private optionsFor({ author, signal }: IProposer): IProposalOptions {
    return { trans: this._trans, author, signal };
  }

  private widgetOf(id: string) {
    const { widgets } = this._panel.content;
    const index = widgets.findIndex(one => one.model.id === id);
    if (index < 0) {
      throw new ToolError('The cell is not there any more.');
    }
    this.scrollTo(index);
    return widgets[index];
  }

  /** Bring a cell into view: a cell that is far away shows its proposal only then. */
  private scrollTo(index: number): void {
    void this._panel.content.scrollToItem(index, 'smart').catch(() => undefined);
  }
}

function decisionOf(outcome: Outcome): Decision {
  return outcome === 'unchanged' ? 'accepted' : outcome;
}

/** Report why a proposal cannot be shown to the model: such a cell is protected. */
async function shown<T>(proposal: Promise<T>): Promise<T> {
  try {
    return await proposal;
  } catch (error) {
    throw new ToolError((error as Error).message);
  }
}
