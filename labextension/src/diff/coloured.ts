import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';

import type { IRange } from './parts';

interface IToken extends IRange {
  readonly className: string;
}

/** A text and the classes of its tokens in the colours of JupyterLab's editors. */
export class ColouredText {
  constructor(readonly text: string) {
    this._starts = [0];
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) {
      this._starts.push(at + 1);
    }
  }

  /** Find the tokens. A language that JupyterLab does not know has none. */
  async colour(languages: IEditorLanguageRegistry, mimeType: string): Promise<void> {
    const node = document.createElement('div');
    await languages.highlight(this.text, languages.findByMIME(mimeType), node);
    let from = 0;
    this._tokens = [...node.childNodes].map(child => {
      const to = from + (child.textContent ?? '').length;
      const token = { from, to, className: child instanceof Element ? child.className : '' };
      from = to;
      return token;
    });
  }

  /** Add the text of a line to a node, with `marked` ranges of the whole text in elements. */
  write(line: number, marked: readonly IRange[], node: HTMLElement): void {
    const from = this._starts[line];
    const to = (this._starts[line + 1] ?? this.text.length + 1) - 1;
    const ends = [...this._tokens, ...marked].flatMap(one => [one.from, one.to]);
    const cuts = [...new Set([from, to, ...ends.filter(at => at > from && at < to)])];
    cuts.sort((one, other) => one - other);
    cuts.slice(1).forEach((end, index) => {
      const start = cuts[index];
      const has = (one: IRange) => one.from <= start && end <= one.to;
      const isMarked = marked.some(has);
      const piece = document.createElement(isMarked ? 'ins' : 'span');
      piece.className = this._tokens.find(has)?.className ?? '';
      piece.classList.toggle('jpo-diff-word', isMarked);
      piece.textContent = this.text.slice(start, end);
      node.append(piece);
    });
    if (from === to) {
      node.append(document.createElement('br'));
    }
  }

  /** Return the place of a line's first character. */
  startOf(line: number): number {
    return this._starts[line];
  }

  private readonly _starts: number[];
  private _tokens: readonly IToken[] = [];
}
