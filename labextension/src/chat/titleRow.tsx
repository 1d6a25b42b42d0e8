import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import { useId, useState } from 'react';

import { NameField } from './history/nameField';
import type { IPartProps } from './props';
import { SettingsForm } from './settingsForm';

/** The name of the conversation, which a click changes, and its folded settings. */
export function TitleRow(props: IPartProps): React.ReactElement {
  const { chats, conversation, trans } = props;
  const [isNamed, setNamed] = useState(false);
  const [isOpen, setOpen] = useState(false);
  const id = useId();
  const chat = chats.current;
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  // The mode has a switch of its own.
  const isSet = Object.keys(conversation.settings).some(name => name !== 'mode');
  return (
    <>
      <div className="jpo-title-row">
        {isNamed ? (
          <NameField {...{ chat, chats, trans }} onEnd={() => setNamed(false)} />
        ) : chat.isEmpty ? (
          <span className="jpo-title jpo-detail">{trans.__('New chat')}</span>
        ) : (
          <button className="jpo-title" title={trans.__('Rename')} onClick={() => setNamed(true)}>
            {chat.name}
          </button>
        )}
        <button
          className="jpo-fold"
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={() => setOpen(!isOpen)}
        >
          <Caret.react tag="span" height="14px" width="14px" />
          {isSet ? trans.__('Settings (changed)') : trans.__('Settings')}
        </button>
      </div>
      <div id={id} hidden={!isOpen}>
        {isOpen && <SettingsForm {...{ conversation, trans }} />}
      </div>
    </>
  );
}
