import type { TranslationBundle } from '@jupyterlab/translation';
import { useRef, useState } from 'react';

import type { Chat } from './chat';
import type { Chats } from './chats';
import { cleanName } from './record';

interface INameFieldProps {
  chat: Chat;
  chats: Chats;
  trans: TranslationBundle;
  onEnd: () => void;
}

/** The name of a conversation while it is edited: Enter keeps it, Escape does not. */
export function NameField({ chat, chats, trans, onEnd }: INameFieldProps): React.ReactElement {
  const [name, setName] = useState(chat.name);
  const isOver = useRef(false);
  const end = (isKept: boolean) => {
    // Leaving the field by a key takes the focus from it, which would end it again.
    if (!isOver.current) {
      isOver.current = true;
      const cleaned = cleanName(name);
      if (isKept && cleaned !== chat.name) {
        chats.rename(chat, cleaned);
      }
      onEnd();
    }
  };
  return (
    <input
      className="jp-mod-styled jpo-name-field"
      aria-label={trans.__('Name of the conversation')}
      placeholder={trans.__('Named after its first question')}
      autoFocus
      value={name}
      onFocus={event => event.target.select()}
      onChange={event => setName(event.target.value)}
      onBlur={() => end(true)}
      onKeyDown={event => {
        if (event.key === 'Enter' && !event.nativeEvent.isComposing) {
          // The button that gets the focus next must not take the key, too.
          event.preventDefault();
          end(true);
        } else if (event.key === 'Escape') {
          event.stopPropagation();
          end(false);
        }
      }}
    />
  );
}
