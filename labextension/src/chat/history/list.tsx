import { deleteIcon, editIcon } from '@jupyterlab/ui-components';
import { useEffect, useRef, useState } from 'react';

import { Action } from '../../action';
import type { IPartProps } from '../props';
import type { Chat } from './chat';
import { NameField } from './nameField';

/** The conversations, with a search over their names and texts. */
export function ChatList(props: IPartProps): React.ReactElement {
  const { chats, panel, trans } = props;
  const [text, setText] = useState('');
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => search.current?.focus(), []);
  const found = chats.find(text);
  const { removed } = chats;
  return (
    <section
      className="jpo-history"
      aria-label={trans.__('Conversations')}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          panel.showList(false);
        } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
          moveFocus(event.currentTarget, event.key === 'ArrowDown' ? 1 : -1);
          event.preventDefault();
        }
      }}
    >
      <input
        type="search"
        className="jp-mod-styled jpo-search"
        ref={search}
        value={text}
        aria-label={trans.__('Search the conversations')}
        placeholder={trans.__('Search names and texts')}
        onChange={event => setText(event.target.value)}
      />
      <p className="jpo-detail jpo-found" role="status">
        {text.trim()
          ? trans._n('%1 conversation found', '%1 conversations found', found.length)
          : chats.all.length
            ? ''
            : trans.__('There is no conversation yet.')}
      </p>
      {removed && (
        <div className="jpo-undo">
          <span className="jpo-name">{trans.__('Deleted “%1”.', removed.name)}</span>
          <button
            className="jp-mod-styled"
            onClick={() => {
              chats.restore();
              search.current?.focus();
            }}
          >
            {trans.__('Undo')}
          </button>
        </div>
      )}
      <ul className="jpo-list jpo-conversations">
        {found.map(chat => (
          <Row
            key={chat.id}
            {...props}
            chat={chat}
            onDelete={() => {
              chats.remove(chat);
              search.current?.focus();
            }}
          />
        ))}
      </ul>
    </section>
  );
}

function Row(props: IPartProps & { chat: Chat; onDelete: () => void }): React.ReactElement {
  const { chat, chats, panel, trans, onDelete } = props;
  const [isNamed, setNamed] = useState(false);
  const open = useRef<HTMLButtonElement>(null);
  const wasNamed = useRef(false);
  useEffect(() => {
    if (wasNamed.current && !isNamed) {
      open.current?.focus();
    }
    wasNamed.current = isNamed;
  }, [isNamed]);
  const { isRunning } = chat.conversation;
  const details = [
    isRunning ? trans.__('answering…') : dateOf(chat.changed),
    chat.model.replace(/:latest$/, '')
  ];
  return (
    <li className="jpo-row">
      {isNamed ? (
        <NameField {...{ chat, chats, trans }} onEnd={() => setNamed(false)} />
      ) : (
        <button
          className="jpo-row-text jpo-open"
          ref={open}
          aria-current={chat === chats.current}
          title={chat.name}
          onClick={() => {
            chats.open(chat);
            panel.showList(false);
          }}
          onKeyDown={event => {
            if (event.key === 'F2') {
              setNamed(true);
            } else if (event.key === 'Delete') {
              onDelete();
            }
          }}
        >
          <span className="jpo-name">{chat.name}</span>
          <span className="jpo-detail">{details.filter(Boolean).join(' · ')}</span>
        </button>
      )}
      <div className="jpo-actions">
        <Action
          icon={editIcon}
          label={trans.__('Rename %1', chat.name)}
          onClick={() => setNamed(true)}
        />
        <Action icon={deleteIcon} label={trans.__('Delete %1', chat.name)} onClick={onDelete} />
      </div>
    </li>
  );
}

/** Move the focus from the search to the rows and between them. */
function moveFocus(list: HTMLElement, by: number): void {
  const stops = [...list.querySelectorAll<HTMLElement>('.jpo-search, .jpo-open')];
  const at = stops.findIndex(one => one === document.activeElement);
  if (at >= 0) {
    stops[Math.max(0, Math.min(stops.length - 1, at + by))].focus();
  }
}

/** Return a time of today as a time, else as a date. */
function dateOf(milliseconds: number): string {
  const date = new Date(milliseconds);
  return date.toDateString() === new Date().toDateString()
    ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : date.toLocaleDateString();
}
