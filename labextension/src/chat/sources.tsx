import type { TranslationBundle } from '@jupyterlab/translation';

import type { IAttachment, ISource } from './conversation';

interface ISourcesProps {
  sources: readonly IAttachment[];
  trans: TranslationBundle;
  open: (source: ISource) => void;
}

/** What an answer was made with. A file, a cell or a page opens; other attachments unfold. */
export function Sources({ sources, trans, open }: ISourcesProps): React.ReactElement {
  return (
    <div className="jpo-sources">
      <span className="jpo-detail">{trans.__('Sources:')}</span>
      <ul aria-label={trans.__('Sources of the answer')}>
        {sources.map(({ name, source }, index) => (
          <li key={index}>
            <button
              className="jpo-chip"
              title={source?.url ?? source?.path ?? name}
              onClick={event => (source ? open(source) : unfold(event.currentTarget, index))}
            >
              {name}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Show an attachment of the question before the answer. */
function unfold(button: HTMLElement, index: number): void {
  const question = button.closest('.jpo-turn')?.previousElementSibling;
  const attached = question?.querySelectorAll<HTMLElement>(':scope > .jpo-attached > *')[index];
  if (attached instanceof HTMLDetailsElement) {
    attached.open = true;
    attached.querySelector('summary')?.focus();
  }
  attached?.scrollIntoView({ block: 'nearest' });
}
