import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { LabIcon } from '@jupyterlab/ui-components';

import type { IOllamaClient } from '../client';
import type { Conversation, IAttachment } from './conversation';
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

export interface IChatProps {
  client: IOllamaClient;
  conversation: Conversation;
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
  codeActions: readonly ICodeAction[];
  attachActions: readonly IAttachAction[];
  chatActions: readonly IChatAction[];
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
  /** Whether a message can be sent. */
  readonly canAsk: boolean;
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
}
