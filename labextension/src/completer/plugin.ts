import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import {
  type CompletionHandler,
  type ICompletionContext,
  ICompletionProviderManager,
  type IInlineCompletionContext
} from '@jupyterlab/completer';
import { NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { DOMAIN, IOllamaClient } from '../client';
import { scopeOf } from '../context/scope';
import { modelIcon } from '../icon';
import { followSettings } from '../settings';
import type { ISurroundings } from './context';
import { type ICompleterSettings, OllamaCompleter } from './provider';

export const COMPLETER_ID = 'jupyter-ollama:completer';

export const completer: JupyterFrontEndPlugin<void> = {
  id: COMPLETER_ID,
  description: 'Completions in editors that a model writes.',
  autoStart: true,
  requires: [IOllamaClient, ICompletionProviderManager],
  optional: [ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    manager: ICompletionProviderManager,
    settingRegistry: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const provider = new OllamaCompleter({
      api: client.api,
      defaultModel: () => client.defaultModel(),
      surroundings,
      name: trans.__('Ollama'),
      icon: modelIcon
    });
    // JupyterLab passes settings only to providers that are registered at startup.
    manager.registerInlineProvider?.(provider);
    // Until they are known, users who do not want completions get none.
    provider.enabled = !settingRegistry;
    let looked = false;
    followSettings(app, settingRegistry, COMPLETER_ID, ({ composite }) => {
      const { enabled, ...settings } = composite as unknown as ICompleterSettings & {
        enabled: boolean;
      };
      provider.settings = settings;
      provider.enabled = enabled;
      if (enabled && !looked) {
        looked = true;
        // The default model has to be known before the first key.
        void client.watch.refresh();
      }
    });
  }
};

function surroundings(
  request: CompletionHandler.IRequest,
  context: IInlineCompletionContext,
  onLeave: () => void
): ISurroundings {
  const { text, offset } = request;
  const around = {
    before: [],
    prefix: text.slice(0, offset),
    suffix: text.slice(offset),
    after: []
  };
  // JupyterLab passes it to all providers, but its types declare it only for other completions.
  const { editor } = context as ICompletionContext;
  if (editor) {
    leaveOnce(editor, request, onLeave);
  }
  const panel = context.widget;
  if (!(panel instanceof NotebookPanel)) {
    return around;
  }
  const { activeCell, activeCellIndex, widgets } = panel.content;
  const like = (from: number, to?: number) =>
    widgets
      .slice(from, to)
      .filter(cell => cell.model.type === activeCell?.model.type)
      .map(cell => cell.model.sharedModel.getSource());
  const scope = activeCell?.model.type === 'code' ? scopeOf(panel.sessionContext) : null;
  // From now on the kernel is asked when it is idle, so that no completion waits for it.
  scope?.follow();
  const { lines = [] } = scope ?? {};
  return {
    ...around,
    scope: lines,
    before: like(0, activeCellIndex),
    after: like(activeCellIndex + 1)
  };
}

type Editor = NonNullable<ICompletionContext['editor']>;

/** Call back when the text changes or the cursor moves. */
function leaveOnce(
  editor: Editor,
  { text, offset }: CompletionHandler.IRequest,
  onLeave: () => void
): void {
  const { model } = editor;
  const left = () => {
    const at = editor.isDisposed ? -1 : editor.getOffsetAt(editor.getCursorPosition());
    // The key that triggers a request changes the text first and then moves the cursor.
    if (at !== offset || model.sharedModel.getSource() !== text) {
      model.sharedModel.changed.disconnect(left);
      model.selections.changed.disconnect(left);
      onLeave();
    }
  };
  model.sharedModel.changed.connect(left);
  model.selections.changed.connect(left);
}
