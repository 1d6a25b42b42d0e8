import { Notification } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ChatMessage } from '../api';
import { progressOf } from '../chat/progress';
import { Waiting } from '../chat/waiting';
import { type IOllamaClient, sizeOf } from '../client';
import { openSource, type Outcome } from '../diff';

/** A request for a new source of a cell. */
export interface IRewrite {
  readonly client: IOllamaClient;
  readonly model: string;
  readonly messages: ChatMessage[];
  readonly trans: TranslationBundle;
  /** Return the source of the cell for an answer, which may be incomplete. */
  readonly sourceOf: (answer: string, isComplete: boolean) => string;
  /** Ends the request and refuses the proposal. */
  readonly signal?: AbortSignal;
}

/** Have a model write the source of a cell, and show it as a proposal in the cell. */
export async function rewrite(
  cell: Cell,
  request: IRewrite,
  onAnswer: (answer: string) => void = () => undefined
): Promise<Outcome> {
  const { client, model, messages, trans, sourceOf, signal } = request;
  if (sizeOf(client.watch.state, model) === undefined) {
    // No panel has listed the models yet.
    void client.watch.refresh();
  }
  const proposal = await openSource(cell, { trans, author: model, signal });
  const controller = new AbortController();
  void proposal.done.then(() => controller.abort());
  const since = performance.now();
  let answer = '';
  let state = '';
  const show = (next: string, message: React.ReactNode) => {
    if (state !== next) {
      state = next;
      proposal.message = message;
    }
  };
  try {
    for await (const event of client.api.chat({ model, messages }, controller.signal)) {
      const text = event.message?.content ?? '';
      answer += text;
      if (answer) {
        show('writing', trans.__('%1 is writing…', model));
      } else if (event.message?.thinking) {
        show('thinking', trans.__('%1 is thinking…', model));
      } else {
        const progress = progressOf(event);
        const size = sizeOf(client.watch.state, model);
        show(
          JSON.stringify([progress, size]),
          <Waiting {...{ model, trans, progress, since, size }} />
        );
      }
      if (text) {
        proposal.write(sourceOf(answer, false));
      }
    }
    if (!proposal.hasEnded) {
      onAnswer(answer);
      proposal.complete(sourceOf(answer, true));
    }
  } catch (error) {
    if (!controller.signal.aborted) {
      proposal.fail((error as Error).message);
    }
  }
  const outcome = await proposal.done;
  if (outcome === 'unchanged') {
    Notification.info(trans.__('%1 would change nothing.', model), { autoClose: 5000 });
  }
  return outcome;
}
