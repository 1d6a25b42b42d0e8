import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import type { INotebookTracker, Notebook } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';

import { CommandIDs } from '../commandIds';
import { type IOpenProposal, openProposals } from './open';

/** Add the commands on open proposals, which the shortcuts and the tooltips of their buttons name. */
export function addProposalCommands(
  { commands }: JupyterFrontEnd,
  notebooks: INotebookTracker,
  languages: IEditorLanguageRegistry | null,
  trans: TranslationBundle
): string[] {
  openProposals.languages = languages;
  openProposals.keysOf = command =>
    commands.keyBindings
      .filter(binding => binding.command === command)
      .map(({ keys }) => keys.map(CommandRegistry.formatKeystroke).join(' '))
      .join(', ');
  const notebook = () => notebooks.currentWidget?.content;
  const here = () => openProposals.of(notebooks.activeCell);
  const isOpen = () => inOrder(notebook()).length > 0;
  const describedBy = { args: { type: 'object', properties: {} } } as const;
  commands.addCommand(CommandIDs.acceptProposal, {
    label: trans.__('Accept the Proposal in the Cell'),
    describedBy,
    isEnabled: () => here().length > 0,
    execute: () => here().forEach(one => one.accept())
  });
  commands.addCommand(CommandIDs.refuseProposal, {
    label: trans.__('Refuse the Proposal in the Cell'),
    describedBy,
    isEnabled: () => here().length > 0,
    execute: () => here().forEach(one => one.refuse())
  });
  commands.addCommand(CommandIDs.nextChange, {
    label: trans.__('Go to the Next Proposed Change'),
    describedBy,
    isEnabled: isOpen,
    execute: () => goToNext(notebook())
  });
  const ids = [CommandIDs.acceptProposal, CommandIDs.refuseProposal, CommandIDs.nextChange];
  const changed = () => ids.forEach(id => commands.notifyCommandChanged(id));
  openProposals.changed.connect(changed);
  notebooks.activeCellChanged.connect(changed);
  return ids;
}

/** Return the open proposals of a notebook from the active cell on, and then those before it. */
function inOrder(notebook: Notebook | undefined): IOpenProposal[] {
  if (!notebook) {
    return [];
  }
  const { widgets, activeCellIndex } = notebook;
  const place = ({ cell }: IOpenProposal) =>
    (widgets.indexOf(cell) - activeCellIndex + widgets.length) % widgets.length;
  return openProposals.all
    .filter(one => widgets.includes(one.cell))
    .sort((one, other) => place(one) - place(other));
}

async function goToNext(notebook: Notebook | undefined): Promise<void> {
  const proposals = inOrder(notebook);
  if (!notebook || !proposals.length) {
    return;
  }
  const isHere = (one: IOpenProposal) => one.cell === notebook.activeCell;
  if (proposals.filter(isHere).some(one => one.focusNext())) {
    return;
  }
  const next = proposals.find(one => !isHere(one)) ?? proposals[0];
  notebook.activeCellIndex = notebook.widgets.indexOf(next.cell);
  await notebook.scrollToItem(notebook.activeCellIndex, 'smart');
  await next.cell.ready;
  next.focusNext();
}
