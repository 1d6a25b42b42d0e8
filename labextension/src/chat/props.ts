import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { LabIcon } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';

import type { Agent } from '../agent/agent';
import type { IOllamaClient } from '../client';
import type { DraftMentions } from '../context/draft';
import type { MentionSource } from '../context/source';
import type { Conversation, IAttachment, ISource } from './conversation';
import type { Chats } from './history/chats';
import type { ICodeAction } from './markdown';

/** A kind of attachment, offered as a button. */
export interface IAttachAction {
  readonly label: string;
  /** Return the attachments, or a message with the reason why there are none. */
  readonly attach: () => Promise<readonly IAttachment[] | string>;
}

/** An action on the whole conversation. */
export interface IChatAction {
  readonly icon: LabIcon;
  readonly label: string;
  readonly run: () => unknown;
}

/** A question that fits to what is open, offered before the first question. */
export interface ISuggestion {
  readonly text: string;
  readonly attachments: readonly IAttachment[];
}

/** The questions that fit to what is open. */
export interface ISuggestions {
  /** Emitted when other questions may fit. */
  readonly changed: ISignal<unknown, unknown>;
  list(): readonly ISuggestion[];
}

export interface IChatProps {
  client: IOllamaClient;
  chats: Chats;
  /** Null where the agent is switched off. */
  agent: Agent | null;
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
  codeActions: readonly ICodeAction[];
  attachActions: readonly IAttachAction[];
  chatActions: readonly IChatAction[];
  suggestions: ISuggestions;
  /** Resolves when the saved conversations are listed, or cannot be. */
  loaded: () => Promise<void>;
  /** Open the place from which an attachment was taken. */
  openSource: (source: ISource) => void;
  /** What questions can refer to by `@` words. */
  mentionSource: MentionSource;
}

/** The message that the user edits before it is sent. */
export interface IDraft {
  readonly draft: string;
  /** The attachments of the next message. */
  readonly attachments: readonly IAttachment[];
  /** The result of the last action, if the panel does not show it elsewhere. */
  readonly notice: string;
}

/** The state of the chat panel that its components read and change. */
export interface IChatPanel extends IDraft {
  /** The model of the next message. */
  readonly model: string;
  /** Attaches what the draft refers to. */
  readonly mentions: DraftMentions;
  /** Whether a message can be sent. */
  readonly canAsk: boolean;
  /** Why the model cannot work in the mode of the conversation; empty if it can. */
  readonly problem: string;
  /** Whether the list of conversations is shown instead of one. */
  readonly isListed: boolean;
  /** Show the list of conversations, or the conversation. */
  showList(isListed: boolean): void;
  /** Select the model of the next messages. */
  choose(model: string): void;
  /** Change the draft; clears the notice. */
  edit(change: Partial<IDraft>): void;
  /** Send a message. */
  ask(text: string, attachments: readonly IAttachment[]): Promise<void>;
}

/** The props of a component of the chat panel. */
export interface IPartProps extends IChatProps {
  panel: IChatPanel;
  /** The conversation that is shown. */
  conversation: Conversation;
}
