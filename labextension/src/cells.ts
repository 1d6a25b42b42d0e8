/** The cell that adds the magics to a kernel. */
export const LOAD_MAGICS = '%load_ext jupyter_ollama_magics';

/** Return whether a cell asks a model. */
export function isChat(source: string): boolean {
  return /^%%chat(?=\s|$)/.test(source);
}

/** A new cell; `selected` is the part of its source to type over. */
export interface INewCell {
  readonly source: string;
  readonly selected: string;
}

/** Return a cell that runs as it is: a question to a model. */
export function chatCell(model: string): INewCell {
  const question = 'Introduce yourself in one sentence.';
  return { source: `%%chat ${model}\n${question}`, selected: question };
}

/** Return a cell that runs as it is: texts and a model that makes vectors of them. */
export function embedCell(model: string): INewCell {
  const texts = '"The cat sleeps", "A kitten naps", "Stocks fell"';
  const lines = [`texts = [${texts}]`, `vectors = %embed texts --model ${model}`];
  return { source: [...lines, 'vectors @ vectors.T'].join('\n'), selected: texts };
}
