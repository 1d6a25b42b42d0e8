import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { InstructionHistory } from './history';

interface IPromptOptions {
  readonly history: InstructionHistory;
  readonly label: string;
  /** Return whether the instruction is done, so that it need not be shown again. */
  readonly send: (instruction: string) => Promise<boolean>;
  readonly close: () => void;
  readonly trans: TranslationBundle;
}

/**
 * A line in a cell for an instruction to a model.
 *
 * It is made without React, which would draw it after the next keys that the user types.
 */
export class InlinePrompt extends Widget {
  constructor(private readonly _options: IPromptOptions) {
    super({ node: document.createElement('form') });
    const { label, close, trans } = _options;
    this.addClass('jpo-inline-form');
    this._input.className = 'jpo-inline-input';
    this._input.setAttribute('aria-label', label);
    this._input.placeholder = label;
    this._send.type = 'submit';
    this._send.textContent = trans.__('Send');
    this._send.className = 'jpo-bar-button jpo-mod-main';
    this._send.disabled = true;
    const end = document.createElement('button');
    end.type = 'button';
    end.textContent = trans.__('Close');
    end.title = trans.__('Close (Escape)');
    end.className = 'jpo-bar-button';
    end.addEventListener('click', close);
    const buttons = document.createElement('div');
    buttons.className = 'jpo-bar-buttons';
    buttons.append(this._send, end);
    this.node.append(this._input, buttons);
    this.node.addEventListener('keydown', event => this.onKeyDown(event));
    this.node.addEventListener('submit', event => {
      event.preventDefault();
      void this.submit();
    });
    this._input.addEventListener('input', () => this.allow());
  }

  /** Move the focus to the line. */
  focus(): void {
    this._input.focus();
  }

  private async submit(): Promise<void> {
    const { history, send, trans } = this._options;
    const instruction = this._input.value.trim();
    if (!instruction) {
      return;
    }
    history.add(instruction);
    this.fill('');
    this._place = 0;
    this._input.placeholder = trans.__('A further instruction…');
    const isDone = await send(instruction);
    if (!this.isDisposed && !isDone && !this._input.value) {
      this.fill(instruction);
      this._input.select();
    }
  }

  private onKeyDown(event: KeyboardEvent): void {
    const keys: Record<string, () => unknown> = {
      Enter: () => this.submit(),
      Escape: this._options.close,
      ArrowUp: () => this.recall(this._place + 1),
      ArrowDown: () => this.recall(this._place - 1)
    };
    const isInLine = event.target === this._input || event.key === 'Escape';
    // Enter confirms an entry of an input method first.
    if (isInLine && keys[event.key] && !event.isComposing) {
      event.preventDefault();
      event.stopPropagation();
      void keys[event.key]();
    } else if (!event.ctrlKey && !event.altKey && !event.metaKey) {
      // The notebook has commands for single keys.
      event.stopPropagation();
    }
  }

  /** Show an earlier instruction, counted from the newest one; 0 is the one being written. */
  private recall(place: number): void {
    const { all } = this._options.history;
    if (place < 0 || place > all.length) {
      return;
    }
    if (this._place === 0) {
      this._draft = this._input.value;
    }
    this._place = place;
    this.fill(place ? all[all.length - place] : this._draft);
  }

  private fill(text: string): void {
    this._input.value = text;
    this.allow();
  }

  private allow(): void {
    this._send.disabled = !this._input.value.trim();
  }

  private readonly _input = document.createElement('input');
  private readonly _send = document.createElement('button');
  private _place = 0;
  private _draft = '';
}
