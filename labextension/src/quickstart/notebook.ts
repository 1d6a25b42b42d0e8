import type { IKernelspecMetadata, INotebookContent } from '@jupyterlab/nbformat';
import type { TranslationBundle } from '@jupyterlab/translation';

import { LOAD_MAGICS } from '../cells';

/** The models that a quickstart uses. */
export interface IQuickstartModels {
  readonly chat: string;
  /** Whether the notebook has to pull the model before it can be used. */
  readonly mustPull: boolean;
  readonly embed?: string;
}

/** Return a notebook that runs from top to bottom with the models of this server. */
export function quickstartNotebook(
  models: IQuickstartModels,
  kernelspec: IKernelspecMetadata | undefined,
  trans: TranslationBundle
): INotebookContent {
  const cells = [
    prose(
      `# ${trans.__('Ollama in a notebook')}\n\n` +
        trans.__(
          'Press Shift and Enter in each cell, from top to bottom. This one adds the magics.'
        )
    ),
    code(LOAD_MAGICS),
    ...(models.mustPull
      ? [
          prose(trans.__('No model that chats is installed. This cell downloads a small one.')),
          code(`%ollama pull ${models.chat}`)
        ]
      : []),
    prose(
      `## ${trans.__('Chat')}\n\n` +
        trans.__('The answer appears while it is written. Interrupt the kernel to stop it.')
    ),
    code(
      `%%chat ${models.chat} --new\n` +
        'Which three vegetables are easy to grow on a balcony? Answer in one sentence.'
    ),
    prose(
      trans.__('The next cell continues the conversation.') +
        ' ' +
        trans.__('%1 is replaced by the value of the variable.', '`{place}`')
    ),
    code('place = "a windy city in the north"'),
    code('%%chat -o answer\nWhich one of them would you choose for {place}, and why?'),
    prose(trans.__('%1 keeps the answer in a variable.', '`-o answer`')),
    code('answer.text.upper()'),
    ...(models.embed ? embedding(models.embed, trans) : []),
    prose(
      `## ${trans.__('More')}\n\n` +
        `- \`%%chat?\` ${trans.__('lists the options of the magic')}\n` +
        `- \`%ollama help\` ${trans.__('lists the commands on models')}\n` +
        `- ${trans.__('The panel on the left has the models, the panel on the right a chat.')}\n`
    )
  ];
  const metadata = kernelspec ? { kernelspec: { ...kernelspec } } : {};
  return { metadata, nbformat: 4, nbformat_minor: 5, cells } as INotebookContent;
}

function embedding(model: string, trans: TranslationBundle) {
  return [
    prose(
      `## ${trans.__('Search by meaning')}\n\n` +
        trans.__('Every text becomes a vector; texts of similar meaning have similar vectors.')
    ),
    code(
      'import pandas as pd\n\n' +
        'notes = pd.Series(\n' +
        '    [\n' +
        '        "Water the tomatoes every morning.",\n' +
        '        "The train to Bergen leaves at noon.",\n' +
        '        "Radishes are ready after four weeks.",\n' +
        '        "Our team won the match last night.",\n' +
        '    ],\n' +
        '    name="note",\n' +
        ')\n' +
        'question = "How do I look after my vegetables?"\n' +
        `notes.ollama.similar(question, k=2, model="${model}")`
    )
  ];
}

let cells = 0;

/** Return an id of a cell that is unique in its notebook. */
function nextId(): string {
  cells += 1;
  return `quickstart-${cells}`;
}

function prose(source: string) {
  return { cell_type: 'markdown', id: nextId(), metadata: {}, source };
}

function code(source: string) {
  return {
    cell_type: 'code',
    id: nextId(),
    metadata: {},
    source,
    outputs: [],
    execution_count: null
  };
}
