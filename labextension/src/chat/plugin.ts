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
import { addIcon, codeIcon, saveIcon, textEditorIcon } from '@jupyterlab/ui-components';

import { type Agent, IOllamaAgent } from '../agent/agent';
import { DOMAIN, IOllamaClient, LAUNCHER_RANK } from '../client';
import { CommandIDs } from '../commandIds';
import { MentionSource } from '../context/source';
import { chatIcon } from '../icon';
import { strict } from './answer/sanitizer';
import { AwaitedTypesetter } from './answer/typesetter';
import { Conversation, type IAttachment } from './conversation';
import { asJson, asMarkdown, asNotebook } from './documents';
import { acceptFiles } from './drop';
import { Chats } from './history/chats';
import { keepChats } from './history/restoring';
import { attachActions, codeActions, kernelIn } from './notebook';
import { openSource } from './openSource';
import { ChatPanel } from './panel';
import type { IChatAction } from './props';
import { NotebookSuggestions } from './suggestions';

const CHAT_ID = 'jupyter-ollama:chat';

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
    ITranslator,
    IOllamaAgent
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
    translator: ITranslator | null,
    agent: Agent | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const { contents } = app.serviceManager;
    const chats = new Chats(() => new Conversation(client.api, agent));
    const save = async (kind: 'notebook' | 'markdown' | 'json') => {
      const { turns } = chats.current.conversation;
      const type = kind === 'notebook' ? 'notebook' : 'file';
      try {
        const path = browser?.model.path ?? '';
        const ext = kind === 'json' ? '.json' : '.md';
        const file = await contents.newUntitled({ path, type, ext });
        const content =
          kind === 'notebook'
            ? asNotebook(turns, kernelIn(notebooks, app.serviceManager))
            : kind === 'json'
              ? asJson(chats.current)
              : asMarkdown(turns);
        const format = kind === 'notebook' ? 'json' : 'text';
        await contents.save(file.path, { type, format, content });
        documents?.openOrReveal(file.path);
      } catch (error) {
        Notification.error((error as Error).message);
      }
    };
    const start = () => {
      chats.start();
      panel.showList(false);
    };
    const chatActions: IChatAction[] = [
      { icon: addIcon, label: trans.__('New chat'), run: start },
      { icon: saveIcon, label: trans.__('Save as notebook'), run: () => save('notebook') },
      { icon: textEditorIcon, label: trans.__('Save as markdown'), run: () => save('markdown') },
      { icon: codeIcon, label: trans.__('Save as JSON'), run: () => save('json') }
    ];
    const { latexTypesetter, sanitizer } = rendermime;
    const panel: ChatPanel = new ChatPanel({
      client,
      agent,
      chats,
      rendermime: rendermime.clone({
        sanitizer: strict(sanitizer),
        ...(latexTypesetter ? { latexTypesetter: new AwaitedTypesetter(latexTypesetter) } : {})
      }),
      trans,
      chatActions,
      mentionSource: new MentionSource(notebooks, app.serviceManager.contents, browser, trans),
      codeActions: codeActions(notebooks, trans, notice => panel.edit({ notice })),
      attachActions: attachActions(notebooks, documents, trans),
      suggestions: new NotebookSuggestions(notebooks, trans),
      openSource: source => void openSource(source, documents, notebooks).catch(report),
      loaded: () => loaded()
    });
    const report = (error: Error) => panel.edit({ notice: error.message });
    const loaded = keepChats({ chats, panel, api: client.api, state, key: CHAT_ID, trans });
    acceptFiles(panel.node, { contents, trans, onRead: read => panel.attach(read) });
    app.shell.add(panel, 'right', { rank: 710, type: 'Chat' });
    restorer?.add(panel, panel.id);
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
