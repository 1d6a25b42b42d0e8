import type { TranslationBundle } from '@jupyterlab/translation';
import { useEffect, useRef } from 'react';

import { type IMention, KINDS } from './words';

export interface IOffersProps {
  readonly id: string;
  readonly mentions: readonly IMention[];
  readonly selected: number;
  /** Why something is not listed, "" if all is. */
  readonly notice: string;
  readonly trans: TranslationBundle;
  readonly onChoose: (mention: IMention) => void;
}

/** The list of what the `@` word that is being typed may become. */
export function Offers(props: IOffersProps): React.ReactElement {
  const { id, mentions, selected, notice, trans, onChoose } = props;
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
  }, [selected, mentions]);
  const titles: Readonly<Record<IMention['kind'], string>> = {
    variable: trans.__('Variables'),
    cell: trans.__('Cells'),
    file: trans.__('Files'),
    selection: trans.__('Selection'),
    error: trans.__('Error'),
    notebook: trans.__('Notebook')
  };
  const groups = KINDS.map(kind => ({
    kind,
    own: mentions.flatMap((mention, at) => (mention.kind === kind ? [{ mention, at }] : []))
  })).filter(({ own }) => own.length);
  return (
    <div className="jpo-mentions">
      <div id={id} ref={list} role="listbox" aria-label={trans.__('What to attach')}>
        {groups.map(({ kind, own }) => (
          <div key={kind} role="group" aria-label={titles[kind]}>
            <div className="jpo-mentions-title" aria-hidden="true">
              {titles[kind]}
            </div>
            {own.map(({ mention, at }) => (
              <div
                key={mention.word}
                id={`${id}-${at}`}
                role="option"
                aria-selected={at === selected}
                className="jpo-mention"
                title={`@${mention.word}  ${mention.detail}`}
                // The text keeps the focus.
                onMouseDown={event => event.preventDefault()}
                onClick={() => onChoose(mention)}
              >
                <span className="jpo-mention-word">@{mention.word}</span>
                <span className="jpo-detail">{mention.detail}</span>
              </div>
            ))}
          </div>
        ))}
      </div>
      {notice && <p className="jpo-detail jpo-mentions-notice">{notice}</p>}
    </div>
  );
}
