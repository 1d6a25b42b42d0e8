import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { Cell } from '@jupyterlab/cells';
import {
  type CodeMirrorEditor,
  EditorExtensionRegistry,
  IEditorExtensionRegistry,
  IEditorLanguageRegistry
} from '@jupyterlab/codemirror';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CLIENT_ID, DOMAIN } from '../client';
import { followSettings } from '../settings';
import { PromptCells, type Inspect } from './extension';
import { variableOf } from './prompt';

const PROMPTS_ID = 'jupyter-ollama:prompts';
/** Milliseconds to wait for a kernel that may be busy. */
const PATIENCE = 2000;

export const prompts: JupyterFrontEndPlugin<void> = {
  id: PROMPTS_ID,
  description: 'Cells that ask a model look like prose.',
  autoStart: true,
  requires: [IEditorExtensionRegistry, IEditorLanguageRegistry],
  optional: [INotebookTracker, ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    extensions: IEditorExtensionRegistry,
    languages: IEditorLanguageRegistry,
    notebooks: INotebookTracker | null,
    settingRegistry: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const cells = new PromptCells(
      inspectIn(notebooks),
      async () => (await languages.getLanguage('markdown'))?.support?.language,
      trans.__('no such variable in the kernel: it stays as it is')
    );
    extensions.addExtension({
      name: PROMPTS_ID,
      // Markdown cells have their language from the start; cells of code have that of the kernel.
      factory: ({ inline, model }) =>
        inline && !/markdown|gfm/.test(model.mimeType)
          ? EditorExtensionRegistry.createImmutableExtension(
              cells.extension(model.sharedModel.getSource())
            )
          : null
    });
    followSettings(app, settingRegistry, CLIENT_ID, settings => {
      cells.isEnabled = settings.get('highlightPrompts').composite as boolean;
    });
  }
};

/** Return the function that asks the kernel of an editor's notebook about a variable. */
function inspectIn(notebooks: INotebookTracker | null): Inspect {
  return async (view, name) => {
    const has = (cell: Cell) => (cell.editor as CodeMirrorEditor | null)?.editor === view;
    const panel = notebooks?.find(one => one.content.widgets.some(has));
    const kernel = panel?.sessionContext.session?.kernel;
    if (!kernel) {
      return null;
    }
    const late = new Promise<undefined>(resolve => setTimeout(() => resolve(undefined), PATIENCE));
    const request = { code: name, cursor_pos: name.length, detail_level: 0 } as const;
    const reply = await Promise.race([kernel.requestInspect(request).catch(() => undefined), late]);
    const text = reply?.content.status === 'ok' && reply.content.data['text/plain'];
    return (text && variableOf(text as string)) || null;
  };
}
