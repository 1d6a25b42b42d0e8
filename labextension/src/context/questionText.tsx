import type { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';
import { useId, useLayoutEffect, useRef, useState } from 'react';

import type { DraftMentions, IMentionedDraft } from './draft';
import { Offers } from './offers';
import type { MentionSource } from './source';
import { fitting, type IMention, type ITypedWord, typedWord, withWord } from './words';

export interface IQuestionTextProps {
  readonly panel: IMentionedDraft;
  readonly mentions: DraftMentions;
  readonly source: MentionSource;
  readonly trans: TranslationBundle;
  readonly onSend: () => void;
  readonly onEscape: () => void;
}

/** The text of a question. After an `@` it lists what can be attached. */
export function QuestionText(props: IQuestionTextProps): React.ReactElement {
  return <UseSignal signal={props.source.changed}>{() => <Text {...props} />}</UseSignal>;
}

/** The `@` word at the cursor, and which offer of its list is selected. */
interface IOpenList {
  readonly word: ITypedWord;
  readonly at: number;
}

function Text(props: IQuestionTextProps): React.ReactElement {
  const { panel, mentions, source, trans, onSend, onEscape } = props;
  const id = useId();
  const area = useRef<HTMLTextAreaElement>(null);
  const [open, setOpen] = useState<IOpenList | null>(null);
  // The offset of an @ whose list the user has closed.
  const closed = useRef(-1);
  // Where the cursor goes after the text has been changed here.
  const cursor = useRef(-1);
  useLayoutEffect(() => {
    if (cursor.current >= 0) {
      area.current?.setSelectionRange(cursor.current, cursor.current);
      cursor.current = -1;
    }
  });
  const offered = open && panel.draft ? fitting(source.list(), open.word.typed) : [];
  const notice = open ? source.notice : '';
  const isShown = !!open && (offered.length > 0 || !!notice);
  const selected = Math.min(open?.at ?? 0, offered.length - 1);
  const look = () => {
    const { current } = area;
    const word = current && typedWord(current.value, current.selectionStart);
    if (!word || word.from !== closed.current) {
      closed.current = -1;
    }
    if (!word || closed.current >= 0) {
      setOpen(null);
    } else if (word.from !== open?.word.from || word.typed !== open.word.typed) {
      setOpen({ word, at: 0 });
      if (!open) {
        void source.refresh();
      }
    }
  };
  const report = (reason: string) => {
    if (reason) {
      panel.edit({ notice: reason });
    }
  };
  const choose = (mention: IMention) => {
    const { current } = area;
    if (current && open) {
      const next = withWord(current.value, current.selectionStart, open.word, mention.word);
      cursor.current = next.cursor;
      setOpen(null);
      panel.edit({ draft: next.text });
      void mentions.attach(mention.word).then(report);
    }
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    const { key, shiftKey } = event;
    const step = { ArrowDown: 1, ArrowUp: offered.length - 1 }[key];
    const hasOffers = isShown && offered.length > 0;
    if (event.nativeEvent.isComposing) {
      return;
    }
    if (hasOffers && step !== undefined) {
      setOpen({ ...open, at: (selected + step) % offered.length });
    } else if (hasOffers && !shiftKey && (key === 'Enter' || key === 'Tab')) {
      choose(offered[selected]);
    } else if (isShown && key === 'Escape') {
      closed.current = open.word.from;
      setOpen(null);
    } else if (key === 'Enter' && !shiftKey) {
      onSend();
    } else {
      if (key === 'Escape') {
        onEscape();
      }
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div className="jpo-question-text">
      {isShown && (
        <Offers
          id={id}
          mentions={offered}
          selected={selected}
          notice={notice}
          trans={trans}
          onChoose={choose}
        />
      )}
      <textarea
        ref={area}
        className="jpo-text"
        rows={3}
        value={panel.draft}
        aria-label={trans.__('Your question')}
        aria-autocomplete="list"
        aria-haspopup="listbox"
        aria-controls={isShown ? id : undefined}
        aria-activedescendant={isShown && offered.length ? `${id}-${selected}` : undefined}
        placeholder={trans.__('Ask… @ attaches')}
        title={trans.__(
          'Enter sends, Shift Enter starts a new line, Escape stops the answer, @ attaches variables, cells and files'
        )}
        onChange={event => {
          const { value, selectionStart } = event.target;
          panel.edit({ draft: value });
          look();
          for (const missing of mentions.missing(value, selectionStart)) {
            void mentions.attach(missing).then(report);
          }
        }}
        onSelect={look}
        onBlur={() => setOpen(null)}
        onKeyDown={onKeyDown}
      />
    </div>
  );
}
