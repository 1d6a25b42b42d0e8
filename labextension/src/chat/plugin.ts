import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { addIcon, saveIcon, textEditorIcon } from '@jupyterlab/ui-components';
import type { ReadonlyJSONValue } from '@lumino/coreutils';
import { Throttler } from '@lumino/polling';

import { DOMAIN, IOllamaClient, LAUNCHER_RANK } from '../client';
import { CommandIDs } from '../commandIds';
import { chatIcon } from '../icon';
import { strict } from './answer/sanitizer';
import { Conversation, type IAttachment, type ITurn } from './conversation';
import { asMarkdown, asNotebook } from './documents';
import { attachActions, codeActions, kernelIn } from './notebook';
import { ChatPanel } from './panel';
import type { IChatAction } from './props';

const CHAT_ID = 'jupyter-ollama:chat';

interface ISaved {
  model: string;
  turns: ITurn[];
}

export const chat: JupyterFrontEndPlugin<void> = {
  id: CHAT_ID,
  description: 'A chat with a model beside the notebook.',
  autoStart: true,
  requires: [IOllamaClient, IRenderMimeRegistry],
  optional: [
    ILayoutRestorer,
    ICommandPalette,
    INotebookTracker,
    IDocumentManager,
    IDefaultFileBrowser,
    ILauncher,
    IStateDB,
    ITranslator
  ],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    rendermime: IRenderMimeRegistry,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    notebooks: INotebookTracker | null,
    documents: IDocumentManager | null,
    browser: IDefaultFileBrowser | null,
    launcher: ILauncher | null,
    state: IStateDB | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const conversation = new Conversation(client.api);
    const save = async (kind: 'notebook' | 'file') => {
      const { contents } = app.serviceManager;
      try {
        const path = browser?.model.path ?? '';
        const { turns } = conversation;
        const file = await contents.newUntitled({ path, type: kind, ext: '.md' });
        const content =
          kind === 'notebook'
            ? asNotebook(turns, kernelIn(notebooks, app.serviceManager))
            : asMarkdown(turns);
        const format = kind === 'notebook' ? 'json' : 'text';
        await contents.save(file.path, { type: kind, format, content });
        documents?.openOrReveal(file.path);
      } catch (error) {
        Notification.error((error as Error).message);
      }
    };
    const chatActions: IChatAction[] = [
      { icon: addIcon, label: trans.__('New chat'), run: () => conversation.reset() },
      { icon: saveIcon, label: trans.__('Save as notebook'), run: () => save('notebook') },
      { icon: textEditorIcon, label: trans.__('Save as markdown'), run: () => save('file') }
    ];
    const panel: ChatPanel = new ChatPanel({
      client,
      conversation,
      rendermime: rendermime.clone({ sanitizer: strict(rendermime.sanitizer) }),
      trans,
      chatActions,
      codeActions: codeActions(notebooks, trans, notice => panel.edit({ notice })),
      attachActions: attachActions(notebooks, documents, trans)
    });
    app.shell.add(panel, 'right', { rank: 710, type: 'Chat' });
    restorer?.add(panel, panel.id);
    if (state) {
      remember(panel, conversation, state);
    }
    const open = () => app.shell.activateById(panel.id);
    app.commands.addCommand(CommandIDs.openChat, {
      label: args => (args.isLauncher ? trans.__('Chat') : trans.__('Open Chat')),
      caption: trans.__('Chat with a model of the server'),
      icon: chatIcon,
      describedBy: { args: { type: 'object', properties: { isLauncher: { type: 'boolean' } } } },
      execute: open
    });
    app.commands.addCommand(CommandIDs.askChat, {
      label: trans.__('Ask in Chat'),
      isVisible: () => false,
      describedBy: {
        args: { type: 'object', properties: { text: { type: 'string' }, attachments: {} } }
      },
      execute: args => {
        open();
        const attachments = (args.attachments ?? []) as unknown as IAttachment[];
        void panel.ask(args.text as string, attachments);
      }
    });
    palette?.addItem({ command: CommandIDs.openChat, category: trans.__('Ollama') });
    launcher?.add({
      command: CommandIDs.openChat,
      category: trans.__('Ollama'),
      categoryRank: LAUNCHER_RANK,
      rank: 1,
      args: { isLauncher: true }
    });
  }
};

/** Save the conversation across reloads of the page, without images, which are too large. */
function remember(panel: ChatPanel, conversation: Conversation, state: IStateDB): void {
  const small = (turn: ITurn): ITurn => ({
    ...turn,
    attachments: turn.attachments?.filter(one => one.kind === 'text')
  });
  const save = new Throttler(
    async () => {
      const turns = conversation.turns.map(small);
      const last = turns.pop();
      if (last) {
        // Closing the page ends the answer.
        turns.push(conversation.isRunning ? { ...last, stopped: true } : last);
      }
      const saved = { model: panel.model, turns };
      // JupyterLab does not accept undefined values as JSON.
      await state.save(CHAT_ID, JSON.parse(JSON.stringify(saved)) as ReadonlyJSONValue);
    },
    { limit: 1000, edge: 'trailing' }
  );
  void state
    .fetch(CHAT_ID)
    .then(value => {
      const saved = value as unknown as ISaved | undefined;
      if (saved?.turns?.length && !conversation.turns.length) {
        panel.choose(saved.model);
        conversation.reset(saved.turns);
      }
    })
    .catch(() => undefined)
    .finally(() => {
      conversation.changed.connect(() => void save.invoke());
      panel.edited.connect(() => void save.invoke());
    });
}
