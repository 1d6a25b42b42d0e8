import { LAST } from '../cellNames';
import { type IDesk, type IPlacedCell, idsOf, placed } from '../desk';
import { ToolError } from './tool';

/** The argument that names a cell. */
export const CELL = {
  type: 'string',
  description: `The id of a cell, as read_notebook shows it, or "${LAST}" for the cell that you added or changed last.`
} as const;

/** The maximum number of ids in an error. */
const MOST_IDS = 50;

/** Return the cell with a name, or raise an error that lists the names. */
export function findCell(desk: IDesk, name: string): IPlacedCell {
  const ids = idsOf(desk);
  const id = desk.names.find(name, ids);
  const found = id === undefined ? undefined : placed(desk, id);
  if (!found) {
    const names = ids.slice(0, MOST_IDS).map(one => desk.names.of(one, ids));
    const rest = ids.length > MOST_IDS ? ` and ${ids.length - MOST_IDS} more` : '';
    const wanted = JSON.stringify(name.slice(0, 100));
    throw new ToolError(`There is no cell ${wanted}. The ids: ${names.join(', ')}${rest}.`);
  }
  return found;
}

/** Return how a cell is named to the model. */
export function nameOf(desk: IDesk, { id, index }: Pick<IPlacedCell, 'id' | 'index'>): string {
  return `#${index + 1} ${desk.names.of(id, idsOf(desk))}`;
}
