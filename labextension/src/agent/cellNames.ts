/** The shortest name of a cell, in characters. */
const SHORTEST = 4;

/** What a model may write for the cell that it has added or changed last. */
export const LAST = 'last';

/**
 * Short names of the cells of a notebook: beginnings of their ids.
 *
 * A name keeps its cell, whatever cells are added or deleted later.
 */
export class CellNames {
  /** The id of the cell that was added or changed last. */
  last: string | undefined;

  /** Return the name of a cell; `ids` are those of all cells. */
  of(id: string, ids: readonly string[]): string {
    const given = this._names.get(id);
    if (given) {
      return given;
    }
    const others = new Set([...ids, ...this._names.keys()].filter(other => other !== id));
    const taken = new Set(this._names.values());
    for (let length = SHORTEST; length < id.length; length++) {
      const name = id.slice(0, length);
      const isUnique = [...others].every(other => !other.startsWith(name));
      if (isUnique && !taken.has(name) && !name.endsWith('-') && name !== LAST) {
        return this.keep(id, name);
      }
    }
    return this.keep(id, id);
  }

  /** Return the id of a cell by its name or id; undefined if there is no such cell. */
  find(text: string, ids: readonly string[]): string | undefined {
    if (ids.includes(text)) {
      return text;
    }
    const name = text.trim().replace(/^#/, '');
    if (name === LAST) {
      return this.last !== undefined && ids.includes(this.last) ? this.last : undefined;
    }
    for (const [id, given] of this._names) {
      if (given === name) {
        return ids.includes(id) ? id : undefined;
      }
    }
    const begun = name.length < SHORTEST ? [] : ids.filter(id => id.startsWith(name));
    return begun.length === 1 ? begun[0] : undefined;
  }

  private keep(id: string, name: string): string {
    this._names.set(id, name);
    return name;
  }

  private readonly _names = new Map<string, string>();
}
