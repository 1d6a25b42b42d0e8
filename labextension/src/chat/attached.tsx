import type { TranslationBundle } from '@jupyterlab/translation';

import type { IAttachment } from './conversation';

interface IAttachedProps {
  attachment: IAttachment;
  trans: TranslationBundle;
}

/** An attachment of a question, folded. */
export function Attached({ attachment, trans }: IAttachedProps): React.ReactElement {
  const { kind, name, content, isLeftOut } = attachment;
  if (isLeftOut) {
    return (
      <p className="jpo-detail">
        {trans.__('%1 was too large to be kept, and is not sent again.', name)}
      </p>
    );
  }
  return (
    <details className="jpo-aside">
      <summary>{name}</summary>
      {kind === 'text' ? (
        <pre tabIndex={0}>{content}</pre>
      ) : (
        // Browsers detect the image type from the bytes, whatever the URL declares.
        <img src={`data:image/png;base64,${content}`} alt={name} />
      )}
    </details>
  );
}
