import { Notification } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ChatMessage } from '../api';
import { languageIn } from '../kernel';
import type { IOllamaClient } from '../client';
import { codeBefore, modelFor } from '../commands/context';
import { rewrite } from '../commands/rewrite';
import { addToCell } from '../diff/place';
import type { InstructionHistory } from './history';
import { InlinePrompt } from './prompt';
import { type ICellTask, questionOf, sourceFor } from './request';

interface ISessionOptions {
  readonly client: IOllamaClient;
  readonly notebooks: INotebookTracker;
  readonly history: InstructionHistory;
  readonly trans: TranslationBundle;
}

/** A prompt in a cell, from its opening to its end, and what the model has been asked there. */
export class InlineSession {
  constructor(
    private readonly _cell: Cell,
    private readonly _options: ISessionOptions
  ) {
    const { history, trans } = _options;
    const isEmpty = !_cell.model.sharedModel.getSource().trim();
    const label = isEmpty
      ? trans.__('What should the cell do?')
      : selectedLines(_cell)
        ? trans.__('How should the selected lines change?')
        : trans.__('How should the cell change?');
    this._prompt = new InlinePrompt({
      history,
      label,
      trans,
      send: instruction => this.send(instruction),
      close: () => this.close()
    });
    addToCell(_cell, this._prompt, 'above');
  }

  /** Whether the prompt has ended. */
  get isClosed(): boolean {
    return this._prompt.isDisposed;
  }

  /** Move the focus to the prompt. */
  focus(): void {
    this._prompt.focus();
  }

  /** End the prompt, its request and an undecided proposal. */
  close(): void {
    this._controller.abort();
    this._prompt.dispose();
    this._cell.editor?.focus();
  }

  /** Ask the model; returns whether the user has accepted something. */
  private async send(instruction: string): Promise<boolean> {
    const { client, notebooks, trans } = this._options;
    const model = await modelFor(client);
    if (!model) {
      Notification.warning(trans.__('No model is installed.'), { autoClose: 5000 });
      return false;
    }
    const task: ICellTask = {
      type: this._cell.model.type,
      language: languageIn(notebooks),
      source: this._cell.model.sharedModel.getSource(),
      selected: selectedLines(this._cell),
      before: codeBefore(notebooks)
    };
    this._controller.abort();
    const controller = (this._controller = new AbortController());
    const question = questionOf(task, instruction);
    const request = {
      client,
      model,
      messages: [...this._messages, question],
      trans,
      signal: controller.signal,
      sourceOf: (answer: string, isComplete: boolean) => sourceFor(task, answer, isComplete)
    };
    const outcome = await rewrite(this._cell, request, content => {
      this._messages.push(question, { role: 'assistant', content });
    });
    const isDone = outcome === 'accepted' || outcome === 'partly';
    if (isDone && controller === this._controller && !this.isClosed) {
      this.close();
    }
    return isDone || controller !== this._controller;
  }

  private readonly _prompt: InlinePrompt;
  private readonly _messages: ChatMessage[] = [];
  private _controller = new AbortController();
}

/** Return the lines of the selection in a cell; undefined without one, or if it has all lines. */
function selectedLines({ editor, model }: Cell): ICellTask['selected'] {
  if (!editor) {
    return undefined;
  }
  const { start, end } = editor.getSelection();
  const isEmpty = start.line === end.line && start.column === end.column;
  const [first, last] = start.line <= end.line ? [start, end] : [end, start];
  const to = last.column === 0 && last.line > first.line ? last.line : last.line + 1;
  const isWhole = first.line === 0 && to >= model.sharedModel.getSource().split('\n').length;
  return isEmpty || isWhole ? undefined : { from: first.line, to };
}
