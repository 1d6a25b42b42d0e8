import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import type { IKernelspecMetadata, INotebookContent } from '@jupyterlab/nbformat';
import { type Contents, type KernelSpec, ServerConnection } from '@jupyterlab/services';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { notebookIcon } from '@jupyterlab/ui-components';

import { DOMAIN, embedderAtHand, IOllamaClient, LAUNCHER_RANK } from '../client';
import { CommandIDs } from '../commandIds';
import { memoryOf, recommended } from '../models/fit';
import { LIBRARY } from '../models/library';
import { quickstartNotebook } from './notebook';

const FILE = 'ollama-quickstart';
/** The model that the notebook pulls if none is recommended for this server. */
const SMALL = 'gemma3:270m';

export const quickstart: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-ollama:quickstart',
  description: 'A notebook that shows the magics with the models of the server.',
  autoStart: true,
  requires: [IOllamaClient, IDocumentManager],
  optional: [ICommandPalette, IDefaultFileBrowser, ILauncher, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    documents: IDocumentManager,
    palette: ICommandPalette | null,
    browser: IDefaultFileBrowser | null,
    launcher: ILauncher | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const { contents, kernelspecs } = app.serviceManager;
    const create = async (folder: string) => {
      await client.watch.refresh();
      const { state } = client.watch;
      const chat = client.defaultModel();
      const models = {
        chat: chat ?? (await modelToPull(client)),
        mustPull: !chat,
        embed: embedderAtHand(state)
      };
      const notebook = quickstartNotebook(models, pythonIn(kernelspecs.specs), trans);
      documents.openOrReveal(await createFile(contents, folder, notebook));
    };
    app.commands.addCommand(CommandIDs.newQuickstart, {
      label: args =>
        args.isLauncher ? trans.__('Quickstart notebook') : trans.__('New Quickstart Notebook'),
      caption: trans.__('Create a notebook that shows how to use models in cells'),
      icon: notebookIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: { cwd: { type: 'string' }, isLauncher: { type: 'boolean' } }
        }
      },
      execute: async args => {
        try {
          await create((args.cwd as string | undefined) ?? browser?.model.path ?? '');
        } catch (error) {
          Notification.error((error as Error).message);
        }
      }
    });
    palette?.addItem({ command: CommandIDs.newQuickstart, category: trans.__('Ollama') });
    launcher?.add({
      command: CommandIDs.newQuickstart,
      category: trans.__('Ollama'),
      categoryRank: LAUNCHER_RANK,
      rank: 3,
      args: { isLauncher: true }
    });
  }
};

async function modelToPull({ api }: IOllamaClient): Promise<string> {
  const devices = await api.devices().catch(() => []);
  return recommended(LIBRARY, memoryOf(devices))?.name ?? SMALL;
}

/** Return the metadata of a Python kernel: the default one if it is one. */
export function pythonIn(
  specs: KernelSpec.ISpecModels | null | undefined
): IKernelspecMetadata | undefined {
  const all = Object.values(specs?.kernelspecs ?? {});
  const first = specs?.kernelspecs[specs.default];
  const found = [first, ...all].find(spec => spec?.language.toLowerCase() === 'python');
  return found && { name: found.name, display_name: found.display_name, language: found.language };
}

/**
 * Write a notebook to a new file of a folder and return its path.
 *
 * The server refuses to rename a file to a name that exists, so no other file is overwritten.
 */
async function createFile(
  contents: Contents.IManager,
  folder: string,
  content: INotebookContent
): Promise<string> {
  const listed = (await contents.get(folder)).content as Contents.IModel[];
  const taken = new Set(listed.map(file => file.name));
  const { path } = await contents.newUntitled({ path: folder, type: 'notebook' });
  await contents.save(path, { type: 'notebook', format: 'json', content });
  for (let number = 1; ; number++) {
    const name = number > 1 ? `${FILE}-${number}.ipynb` : `${FILE}.ipynb`;
    if (taken.has(name)) {
      continue;
    }
    try {
      return (await contents.rename(path, PathExt.join(folder, name))).path;
    } catch (error) {
      // Another file has got the name meanwhile, or is hidden.
      const isTaken =
        error instanceof ServerConnection.ResponseError && error.response.status === 409;
      if (!isTaken) {
        throw error;
      }
    }
  }
}
