import type { Cell } from '@jupyterlab/cells';
import type { PanelLayout, Widget } from '@lumino/widgets';

/** Add a widget to a cell: before its input, after it, or after its outputs. */
export function addToCell(cell: Cell, widget: Widget, place: 'above' | 'below' | 'end'): void {
  const layout = cell.layout as PanelLayout;
  const isInput = (one: Widget) => one.hasClass('jp-Cell-inputWrapper');
  const input = layout.widgets.findIndex(isInput);
  const index = { above: input, below: input + 1, end: layout.widgets.length };
  layout.insertWidget(index[place], widget);
}
