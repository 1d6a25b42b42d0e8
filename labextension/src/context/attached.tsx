import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon } from '@jupyterlab/ui-components';

import type { IAttachment } from '../chat/conversation';
import { estimateTokens } from './tokens';

export interface IAttachedProps {
  readonly attachments: readonly IAttachment[];
  readonly trans: TranslationBundle;
  readonly onRemove: (attachment: IAttachment) => void;
}

/** What is sent with the next question: each opens to show its exact content. */
export function Attached(props: IAttachedProps): React.ReactElement | null {
  const { attachments, trans, onRemove } = props;
  if (!attachments.length) {
    return null;
  }
  return (
    <div className="jpo-attach" role="group" aria-label={trans.__('Attached')}>
      {attachments.map((one, index) => (
        <div className="jpo-attached" key={`${index} ${one.name}`}>
          <details>
            <summary className="jpo-chip" title={trans.__('Show what is sent')}>
              {one.name}
              {one.kind === 'text' && (
                <span className="jpo-detail">
                  {trans.__('%1 tokens', `≈${estimateTokens(one.content)}`)}
                </span>
              )}
            </summary>
            {one.kind === 'text' ? (
              <pre className="jpo-attached-content" tabIndex={0} aria-label={one.name}>
                {one.content}
              </pre>
            ) : (
              // Browsers detect the image type from the bytes, whatever the URL declares.
              <img src={`data:image/png;base64,${one.content}`} alt={one.name} />
            )}
          </details>
          <button
            className="jpo-chip jpo-attached-remove"
            aria-label={trans.__('Do not attach %1', one.name)}
            title={trans.__('Do not attach %1', one.name)}
            onClick={() => onRemove(one)}
          >
            <closeIcon.react tag="span" height="12px" width="12px" />
          </button>
        </div>
      ))}
    </div>
  );
}
