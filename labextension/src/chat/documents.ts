import type { ICell, IKernelspecMetadata, INotebookContent } from '@jupyterlab/nbformat';
import { UUID } from '@lumino/coreutils';

import { fenced, type ITurn } from './conversation';

/** Code, in which all may stand, or what makes a page fetch something. */
const PICTURE =
  /^(`{3,})[\s\S]*?(?:^\1`*[ \t]*$|(?![\s\S]))|`[^`\n]+`|!\[|<(?=(?:img|source|video|audio|picture|svg|iframe)\b)/gim;
/** Other names that models give to languages. */
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

/** Make links of the pictures that a model names: who opens what is saved fetches them. */
export function withoutPictures(markdown: string): string {
  return markdown.replace(PICTURE, found => ({ '![': '[', '<': '&lt;' })[found] ?? found);
}

/** Cut a text where its fences of code in a language begin and end. */
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

/** Write a conversation down as markdown. */
export function asMarkdown(turns: readonly ITurn[]): string {
  const sections = turns.map(turn => {
    const attached = (turn.attachments ?? [])
      .filter(one => one.kind === 'text')
      .map(one => `${one.name}:\n\n${fenced(one.content, one.language)}`);
    const content = turn.role === 'user' ? turn.content : withoutPictures(turn.content);
    return [`## ${speaker(turn)}`, ...attached, content].join('\n\n');
  });
  return sections.join('\n\n') + '\n';
}

/** Write a conversation down as a notebook; code in the answers becomes cells. */
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
    cells.push(cell(false, `## ${speaker(turn)}`));
    const parts = partsOf(turn.content, language);
    cells.push(...parts.map(({ code, text }) => cell(code, code ? text : withoutPictures(text))));
  }
  // Without a kernel Lab asks for one as soon as the notebook is opened.
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
