// Tables whose rows stay the same elements: only cells that differ are written.

import { el } from './dom.js';

/**
 * A table of rows by key, sorted and searched by its user.
 *
 * A column has an ``id``, a ``label``, and either ``text(row)``, or ``show(row)`` for elements and
 * ``sign(row)`` for a text that differs when they do. ``value(row)`` is what it is sorted by;
 * ``ticks`` cells are written again each second.
 */
export class Table {
  constructor({ label, columns, sort, empty, search }) {
    this.columns = columns;
    this.sort = sort;
    this.rows = new Map();
    this.lines = new Map();
    this.search = search;
    this.query = '';
    this.heads = new Map();
    this.body = el('tbody');
    const head = el('tr', {}, ...columns.map(column => this.head(column)));
    this.grid = el('table', { 'aria-label': label }, el('thead', {}, head), this.body);
    this.none = el('p', { class: 'empty' }, empty);
    this.scroller = el(
      'div',
      { class: 'scroll', role: 'region', 'aria-label': label, tabIndex: 0 },
      this.grid
    );
    this.node = el('div', {}, this.scroller, this.none);
    this.markSort();
  }

  head(column) {
    const cell = el('th', { scope: 'col', class: column.class ?? '' });
    this.heads.set(column.id, cell);
    if (column.value) {
      const sort = el('button', { type: 'button', class: 'sort' }, column.label);
      sort.addEventListener('click', () => this.sortBy(column.id));
      cell.append(sort);
    } else {
      cell.append(el('span', { class: column.hidden ? 'sr' : '' }, column.label));
    }
    return cell;
  }

  /** The box that searches the table. */
  searchBox(label) {
    const box = el('input', { type: 'search', placeholder: label, 'aria-label': label });
    box.addEventListener('input', () => {
      this.query = box.value.trim().toLowerCase();
      this.arrange();
    });
    return box;
  }

  sortBy(id) {
    const first = this.columns.find(one => one.id === id).first ?? 'descending';
    const other = first === 'descending' ? 'ascending' : 'descending';
    this.sort = { id, order: this.sort.id === id && this.sort.order === first ? other : first };
    this.markSort();
    this.arrange();
  }

  markSort() {
    for (const [id, cell] of this.heads) {
      if (id === this.sort.id) {
        cell.setAttribute('aria-sort', this.sort.order);
      } else {
        cell.removeAttribute('aria-sort');
      }
    }
  }

  update(rows) {
    for (const key of [...this.lines.keys()]) {
      if (!rows.has(key)) {
        this.lines.get(key).node.remove();
        this.lines.delete(key);
      }
    }
    for (const [key, row] of rows) {
      const line = this.lines.get(key) ?? this.newLine(key);
      if (line.row !== row) {
        line.row = row;
        this.columns.forEach((column, at) => this.fill(column, line, at));
      }
    }
    this.arrange();
  }

  newLine(key) {
    const cells = this.columns.map(column => el('td', { class: column.class ?? '' }));
    const line = { node: el('tr', {}, ...cells), cells, signs: [] };
    this.lines.set(key, line);
    return line;
  }

  fill(column, line, at) {
    const sign = (column.sign ?? column.text)(line.row);
    if (line.signs[at] === sign) {
      return;
    }
    line.signs[at] = sign;
    if (column.show) {
      const focused = line.cells[at].contains(document.activeElement);
      line.cells[at].replaceChildren(...[column.show(line.row)].flat().filter(Boolean));
      if (focused) {
        line.cells[at].querySelector('button')?.focus();
      }
    } else {
      line.cells[at].textContent = sign;
    }
  }

  /** Write the cells that depend on the time. */
  tick() {
    this.columns.forEach((column, at) => {
      if (column.ticks) {
        this.lines.forEach(line => this.fill(column, line, at));
      }
    });
  }

  arrange() {
    const { id, order } = this.sort;
    const value = this.columns.find(column => column.id === id).value;
    const sign = order === 'descending' ? -1 : 1;
    const lines = [...this.lines.entries()].map(([key, line]) => [value(line.row), key, line]);
    lines.sort(([a, k], [b, l]) => sign * compare(a, b) || compare(k, l));
    let next = this.body.firstChild;
    let shown = 0;
    for (const [, , line] of lines) {
      const found = !this.query || this.search(line.row).toLowerCase().includes(this.query);
      if (line.node.hidden === found) {
        line.node.hidden = !found;
      }
      shown += found;
      if (line.node === next) {
        next = next.nextSibling;
      } else {
        this.body.insertBefore(line.node, next);
      }
    }
    this.scroller.hidden = !shown;
    this.none.hidden = shown > 0;
  }
}

function compare(a, b) {
  return typeof a === 'number' && typeof b === 'number'
    ? a - b
    : String(a).localeCompare(String(b));
}
