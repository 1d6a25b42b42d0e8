// Figures at the top of a section, with a line of the last minutes where that helps.

import { el, svg, write } from './dom.js';

const POINTS = 90;
const WIDTH = 120;
const HEIGHT = 28;

export class Tile {
  constructor(label, { line = false } = {}) {
    this.value = el('div', { class: 'figure' }, '–');
    this.note = el('div', { class: 'hint' });
    this.points = [];
    this.node = el(
      'div',
      { class: 'tile' },
      el('div', { class: 'label' }, label),
      this.value,
      this.note
    );
    if (line) {
      this.note.hidden = true;
      this.line = svg('polyline', { points: '', class: 'spark' });
      const picture = svg(
        'svg',
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, 'aria-hidden': 'true' },
        this.line
      );
      picture.setAttribute('preserveAspectRatio', 'none');
      this.node.append(picture);
    }
  }

  show(text, note = '') {
    write(this.value, text);
    write(this.note, note);
  }

  /** Add a point to the line, once a second. */
  add(value) {
    this.points = [...this.points, value].slice(-POINTS);
    const most = Math.max(1, ...this.points);
    const step = WIDTH / (POINTS - 1);
    const start = POINTS - this.points.length;
    const at = (one, index) =>
      `${((start + index) * step).toFixed(1)},${(HEIGHT - 2 - (one / most) * (HEIGHT - 4)).toFixed(1)}`;
    this.line.setAttribute('points', this.points.map(at).join(' '));
  }
}

export function tiles(label, ...shown) {
  return el('section', { class: 'tiles', 'aria-label': label }, ...shown.map(one => one.node));
}
