import type { TranslationBundle } from '@jupyterlab/translation';
import {
  addIcon,
  deleteIcon,
  editIcon,
  extensionIcon,
  fileIcon,
  folderIcon,
  inspectorIcon,
  type LabIcon,
  notebookIcon,
  runIcon
} from '@jupyterlab/ui-components';

import type { End, IStep } from './work';

const ICONS: ReadonlyMap<string, LabIcon> = new Map(
  Object.entries({
    read_notebook: notebookIcon,
    read_cell: notebookIcon,
    add_cell: addIcon,
    edit_cell: editIcon,
    delete_cell: deleteIcon,
    run_cell: runIcon,
    inspect_variable: inspectorIcon,
    list_files: folderIcon,
    read_file: fileIcon
  })
);

/** Return the icon of a step. */
export function iconOf({ tool }: IStep): LabIcon {
  return ICONS.get(tool) ?? extensionIcon;
}

/** Return what a step does, in a few words. */
export function nameOf(step: IStep, trans: TranslationBundle): string {
  const { tool, label, position, arguments: args } = step;
  const cell = position ?? '';
  const text = (value: unknown) => String(value ?? '').slice(0, 80);
  switch (tool) {
    case 'read_notebook':
      return trans.__('Read the notebook');
    case 'read_cell':
      return trans.__('Read cell %1', cell);
    case 'add_cell':
      return trans.__('Add cell %1', cell);
    case 'edit_cell':
      return trans.__('Change cell %1', cell);
    case 'delete_cell':
      return trans.__('Delete cell %1', cell);
    case 'run_cell':
      return trans.__('Run cell %1', cell);
    case 'inspect_variable':
      return trans.__('Look at %1', text(args.name));
    case 'list_files':
      return args.folder ? trans.__('List %1', text(args.folder)) : trans.__('List the files');
    case 'read_file':
      return trans.__('Read %1', text(args.path));
    default:
      return label ? trans.__('Call %1', text(label)) : text(tool);
  }
}

/** Return the state of a step in one or two words; empty if it is done. */
export function stateOf(step: IStep, trans: TranslationBundle): string {
  switch (step.state) {
    case 'runs':
      return trans.__('running…');
    case 'asks':
      return trans.__('waits for you');
    case 'refused':
      return trans.__('refused');
    case 'failed':
      return trans.__('failed');
    default:
      return '';
  }
}

/** Return why a work has ended, as a sentence; empty if it is done. */
export function reasonOf(end: End, trans: TranslationBundle): string {
  switch (end) {
    case 'steps':
      return trans.__('Ended: the steps of the budget are used up. Ask to go on.');
    case 'tokens':
      return trans.__('Ended: the tokens of the budget are used up. Ask to go on.');
    case 'minutes':
      return trans.__('Ended: the time of the budget is over. Ask to go on.');
    case 'closed':
      return trans.__('Ended: the notebook was closed.');
    case 'stopped':
      return trans.__('Ended: you stopped it.');
    case 'failed':
      return trans.__('Ended by an error.');
    default:
      return '';
  }
}
