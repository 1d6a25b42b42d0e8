import type { ICodeCell, IOutput } from '@jupyterlab/nbformat';

import { parameters } from '../arguments';
import { type IDesk, type SharedCell } from '../desk';
import { cut, errorLine, readOutputs } from '../outputs';
import { CELL, findCell, nameOf } from './findCell';
import type { ITool } from './tool';

/** The characters of all cells together in read_notebook, and of one of them at most. */
const NOTEBOOK = 12_000;
const EACH = 1_500;
/** The characters of a cell's text, and of its outputs, in read_cell. */
const SOURCE = 12_000;
export const OUTPUT = 4_000;

/** Return the tools that read the notebook. */
export function readingTools(): ITool[] {
  return [
    {
      name: 'read_notebook',
      description:
        'List the cells of the notebook: position, id, type, text and a note on outputs.',
      parameters: parameters({}),
      call: async (_, { desk }) => ({ text: notebookText(desk) })
    },
    {
      name: 'read_cell',
      description: 'Read the whole text of a cell and its outputs.',
      parameters: parameters({ cell: CELL }),
      call: async ({ cell: name }, { desk, show, seesImages }) => {
        const found = findCell(desk, String(name));
        show({ position: found.index + 1 });
        const { text, images } = readOutputs(outputsOf(found.cell), OUTPUT, seesImages);
        const head = `${nameOf(desk, found)} ${kindOf(found.cell)}`;
        const source = cut(found.cell.getSource(), SOURCE);
        return { text: `${head}\n${source}${text ? `\n\nOutputs:\n${text}` : ''}`, images };
      }
    }
  ];
}

/** Return the outputs of a cell; none if it is no code. */
export function outputsOf(cell: SharedCell): IOutput[] {
  return cell.cell_type === 'code' ? (cell.toJSON() as ICodeCell).outputs : [];
}

function notebookText(desk: IDesk): string {
  const { cells } = desk.shared;
  const each = Math.min(EACH, Math.max(80, Math.floor(NOTEBOOK / Math.max(1, cells.length))));
  const texts = cells.map((cell, index) => {
    const head = `${nameOf(desk, { id: cell.getId(), index })} ${kindOf(cell)}`;
    return [head, cut(cell.getSource(), each), noteOn(cell)].filter(one => one).join('\n');
  });
  const problem = desk.kernel.problem;
  const kernel = problem ? `, ${problem}` : '';
  const title = `${desk.path}, ${desk.language}, ${cells.length} cells${kernel}`;
  return cut([title, ...texts].join('\n\n'), 2 * NOTEBOOK);
}

function kindOf(cell: SharedCell): string {
  const count = cell.cell_type === 'code' ? (cell.toJSON() as ICodeCell).execution_count : null;
  return `(${cell.cell_type}${count ? ` [${count}]` : ''})`;
}

function noteOn(cell: SharedCell): string {
  const outputs = outputsOf(cell);
  if (!outputs.length) {
    return '';
  }
  const error = errorLine(outputs);
  return error ? `→ error ${error}` : `→ output ${cut(readOutputs(outputs, 200, false).text, 200)}`;
}
