import { EditorState, type Range, StateEffect, StateField } from '@codemirror/state';
import { Decoration, type DecorationSet, EditorView } from '@codemirror/view';
import type { TranslationBundle } from '@jupyterlab/translation';

import { AddedLines } from './addedLines';
import type { ColouredText } from './coloured';
import type { IPart } from './lines';
import { differences } from './parts';

/** What an editor shows of a proposal. */
export interface IShownDiff {
  readonly parts: readonly IPart[];
  readonly coloured: ColouredText;
  /** Whether each part has buttons. */
  readonly hasButtons: boolean;
  readonly trans: TranslationBundle;
  readonly decide: (part: IPart, isAccepted: boolean) => void;
}

const REMOVED_LINE = Decoration.line({ class: 'jpo-diff-removed' });
const REMOVED_WORD = Decoration.mark({ class: 'jpo-diff-word' });
const SHOW = StateEffect.define<IShownDiff | null>();

/** The marks of a proposal. The text of the editor stays as it is. */
const MARKS = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update: (marks, change) => {
    const shown = change.effects.filter(effect => effect.is(SHOW)).pop();
    return shown ? marksIn(change.state, shown.value) : marks.map(change.changes);
  },
  provide: field => [
    EditorView.decorations.from(field),
    EditorView.editorAttributes.from(field, marks => ({
      class: marks === Decoration.none ? '' : 'jpo-diff'
    }))
  ]
});

/** Show a proposal in an editor, or nothing. */
export function showDiff(view: EditorView, shown: IShownDiff | null): void {
  const isNew = view.state.field(MARKS, false) === undefined;
  if (isNew && !shown) {
    return;
  }
  view.dispatch({
    effects: [...(isNew ? [StateEffect.appendConfig.of(MARKS)] : []), SHOW.of(shown)]
  });
  if (isNew) {
    // The field is created after the effects of the transaction that adds it.
    view.dispatch({ effects: SHOW.of(shown) });
  }
}

function marksIn({ doc }: EditorState, shown: IShownDiff | null): DecorationSet {
  if (!shown) {
    return Decoration.none;
  }
  const marks: Range<Decoration>[] = [];
  const { parts, coloured, hasButtons } = shown;
  const count = parts.length;
  parts.forEach((part, index) => {
    if (part.to > doc.lines) {
      return;
    }
    const { from, to, at, lines } = part;
    for (let line = from; line < to && doc.length > 0; line++) {
      marks.push(REMOVED_LINE.range(doc.line(line + 1).from));
    }
    const start = from < to ? doc.line(from + 1).from : 0;
    const removed = from < to ? doc.sliceString(start, doc.line(to).to) : '';
    const words = from < to && lines.length ? differences(removed, lines.join('\n')) : null;
    for (const word of words?.removed ?? []) {
      if (word.from < word.to) {
        marks.push(REMOVED_WORD.range(start + word.from, start + word.to));
      }
    }
    const begin = coloured.startOf(at);
    const marked = (words?.added ?? []).map(word => ({
      from: begin + word.from,
      to: begin + word.to
    }));
    const number = hasButtons ? index + 1 : 0;
    if (lines.length || number) {
      const { trans, decide } = shown;
      const widget = new AddedLines({ part, coloured, marked, number, count, trans, decide });
      const isFirst = from === to && from === 0;
      const position = isFirst ? 0 : doc.line(to).to;
      marks.push(
        Decoration.widget({ widget, block: true, side: isFirst ? -1 : 1 }).range(position)
      );
    }
  });
  return Decoration.set(marks, true);
}
