import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PageConfig } from '@jupyterlab/coreutils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CLIENT_ID, DOMAIN, IOllamaClient } from '../client';
import { followSettings } from '../settings';
import { Agent, DEFAULT_SETTINGS, IOllamaAgent } from './agent';
import { LabDesk } from './labDesk';
import { LabKernel } from './labKernel';
import { LabProposals } from './labProposals';
import { policyOf } from './policy';
import { confirmUndo } from './undoDialog';

const AGENT_ID = 'jupyter-ollama:agent';

export const agent: JupyterFrontEndPlugin<Agent> = {
  id: AGENT_ID,
  description: 'Lets models propose changes of the open notebook, and work in it by tools.',
  autoStart: true,
  provides: IOllamaAgent,
  requires: [IOllamaClient, INotebookTracker],
  optional: [ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IOllamaClient,
    notebooks: INotebookTracker,
    settingRegistry: ISettingRegistry | null,
    translator: ITranslator | null
  ): Agent => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const desks = new WeakMap<object, LabDesk>();
    const deskOf = (panel: NotebookPanel): LabDesk => {
      let desk = desks.get(panel.context);
      if (!desk) {
        const proposals = new LabProposals(panel, trans);
        desk = new LabDesk(panel, { proposals, kernel: new LabKernel(panel) });
        desks.set(panel.context, desk);
      }
      return desk;
    };
    const agent = new Agent({
      client,
      notebooks,
      contents: app.serviceManager.contents,
      policy: policyOf(PageConfig.getOption('ollamaAgent')),
      trans,
      deskOf,
      confirmUndo: cells => confirmUndo(cells, trans)
    });
    followSettings(app, settingRegistry, CLIENT_ID, settings => {
      const number = (name: string, otherwise: number) =>
        (settings.get(name).composite as number | undefined) ?? otherwise;
      agent.settings = {
        steps: number('agentSteps', DEFAULT_SETTINGS.steps),
        tokens: number('agentTokens', DEFAULT_SETTINGS.tokens),
        minutes: number('agentMinutes', DEFAULT_SETTINGS.minutes),
        context: number('agentContextTokens', DEFAULT_SETTINGS.context)
      };
    });
    return agent;
  }
};
