import type { ChatMessage } from '../api';
import { messageOf } from '../chat/conversation';
import { codeOf } from '../commands/answerCode';

/** What a request for the source of a cell is about. */
export interface ICellTask {
  readonly type: string;
  /** The language of the kernel. */
  readonly language: string;
  readonly source: string;
  /** The lines, from 0, that the user has selected; undefined for the whole cell. */
  readonly selected?: { readonly from: number; readonly to: number };
  /** The code of the cells before. */
  readonly before: string;
}

const IN_FENCE = 'Answer with the whole text in one fence and nothing else.';

/** Return the message for an instruction about a cell. */
export function questionOf(task: ICellTask, instruction: string): ChatMessage {
  const { type, language, before } = task;
  const isCode = type === 'code';
  const text = (name: string, content: string, fence = language) =>
    content.trim() ? [{ kind: 'text' as const, name, content, language: fence }] : [];
  const part = partOf(task);
  const attachments = [
    ...text('Cells before', before),
    ...text('Cell', task.source, isCode ? language : ''),
    ...(task.selected ? text('Selected lines', part, isCode ? language : '') : [])
  ];
  const kind = isCode ? `${language} code` : type === 'markdown' ? 'Markdown text' : 'text';
  const what = task.selected
    ? `Change only the selected lines of the cell: ${instruction}\nAnswer with the lines that replace them in one fence and nothing else.`
    : part.trim()
      ? `Change the cell: ${instruction}\n${IN_FENCE}`
      : `Write a cell of ${kind}: ${instruction}\n${IN_FENCE}`;
  return messageOf({ role: 'user', content: what, attachments });
}

/** Return the source of the cell for an answer; without the lines after it while incomplete. */
export function sourceFor(task: ICellTask, answer: string, isComplete: boolean): string {
  const text = task.type === 'code' ? codeOf(answer) : proseOf(answer);
  if (!task.selected) {
    return text;
  }
  const lines = task.source.split('\n');
  const { from, to } = task.selected;
  const rest = isComplete ? lines.slice(to) : [];
  const written = indentedLike(lines[from], text.split('\n'));
  return [...lines.slice(0, from), ...written, ...rest].join('\n');
}

/** Return the text of an answer about prose: what is in its fence, if it is one fence. */
export function proseOf(answer: string): string {
  const fence = /^\s*(`{3,})(?:markdown|md|text)?[ \t]*\n([\s\S]*?)(?:\n\1`*\s*)?$/.exec(answer);
  return (fence ? fence[2] : answer).replace(/\s+$/, '').replace(/^\n+/, '');
}

function partOf({ source, selected }: ICellTask): string {
  return selected ? source.split('\n').slice(selected.from, selected.to).join('\n') : source;
}

/** Return lines that begin as deep as a line: a model often leaves out the common indentation. */
function indentedLike(model: string, lines: string[]): string[] {
  const indent = /^\s*/.exec(model)?.[0] ?? '';
  const first = lines.find(line => line.trim()) ?? '';
  const isIndented = /^\s*/.exec(first)?.[0].length;
  return indent && !isIndented ? lines.map(line => (line.trim() ? indent + line : line)) : lines;
}
