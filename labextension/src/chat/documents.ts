import type { ICell, IKernelspecMetadata, INotebookContent } from '@jupyterlab/nbformat';
import { UUID } from '@lumino/coreutils';

import { safeMarkdown } from './answer/markdown';
import { fenced, type ITurn } from './conversation';
import type { Chat } from './history/chat';

/** Aliases of languages in the answers of models. */
const NAMES: Readonly<Record<string, string>> = {
  ipython: 'python',
  jl: 'julia',
  py: 'python',
  python3: 'python'
};
const BLOCK = /^(`{3,})([\w+-]*)[^\n]*\n([\s\S]*?)^\1`*[ \t]*$/gm;

/** A part of a text: prose, or the code of a fence. */
export interface IPart {
  readonly code: boolean;
  readonly text: string;
}

/** Split a text at its code fences of a language. */
export function partsOf(markdown: string, language: string): IPart[] {
  const parts: IPart[] = [];
  let from = 0;
  for (const block of markdown.matchAll(BLOCK)) {
    const written = block[2].toLowerCase();
    if (written && (NAMES[written] ?? written) !== language) {
      continue;
    }
    parts.push({ code: false, text: markdown.slice(from, block.index) });
    parts.push({ code: true, text: block[3].replace(/\n$/, '') });
    from = block.index + block[0].length;
  }
  parts.push({ code: false, text: markdown.slice(from) });
  return parts
    .map(part => ({ ...part, text: part.code ? part.text : part.text.trim() }))
    .filter(part => part.text);
}

/** Return a conversation as markdown. */
export function asMarkdown(turns: readonly ITurn[]): string {
  const sections = turns.map(turn => {
    const attached = (turn.attachments ?? [])
      .filter(one => one.kind === 'text')
      .map(one => `${one.name}:\n\n${fenced(one.content, one.language)}`);
    const written = safeMarkdown([...attached, turn.content].join('\n\n'));
    return `## ${safeMarkdown(speaker(turn))}\n\n${written}`;
  });
  return sections.join('\n\n') + '\n';
}

/** Return a conversation as JSON: its name, its model, its settings, and its turns with images. */
export function asJson({ name, record }: Chat): string {
  const { model, settings, turns } = record;
  return JSON.stringify({ name, model, settings, turns }, null, 1) + '\n';
}

/** Return a conversation as a notebook; code in the answers becomes cells. */
export function asNotebook(
  turns: readonly ITurn[],
  kernelspec?: IKernelspecMetadata
): INotebookContent {
  const language = String(kernelspec?.language ?? 'python').toLowerCase();
  const cells: ICell[] = [];
  for (const turn of turns) {
    if (turn.role === 'user') {
      cells.push(cell(false, asMarkdown([turn]).trim()));
      continue;
    }
    cells.push(cell(false, `## ${safeMarkdown(speaker(turn))}`));
    const parts = partsOf(turn.content, language);
    cells.push(...parts.map(({ code, text }) => cell(code, code ? text : safeMarkdown(text))));
  }
  // Without a kernel JupyterLab prompts for one when the notebook is opened.
  return { cells, metadata: kernelspec ? { kernelspec } : {}, nbformat: 4, nbformat_minor: 5 };
}

function speaker(turn: ITurn): string {
  return turn.role === 'user' ? 'You' : (turn.model ?? 'Model');
}

function cell(code: boolean, source: string): ICell {
  const common = { id: UUID.uuid4(), metadata: {}, source };
  return code
    ? { ...common, cell_type: 'code', execution_count: null, outputs: [] }
    : { ...common, cell_type: 'markdown' };
}
