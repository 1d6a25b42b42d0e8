import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { type ISignal, Signal } from '@lumino/signaling';

import type { ChatMessage, OllamaApi } from '../api';
import { type IProgress, progressOf } from '../chat/progress';
import { Waiting } from '../chat/waiting';
import { codeOf, diffLines } from './diff';

/** The request for a rewrite of code. */
export interface IProposalOptions {
  api: Pick<OllamaApi, 'chat'>;
  model: string;
  messages: ChatMessage[];
  before: string;
  title: string;
  trans: TranslationBundle;
  /** Return the size of the model's files in bytes, if known. */
  size: () => number | undefined;
}

/** Code that a model proposes, shown as a diff while it streams. */
class Proposal extends ReactWidget {
  constructor(private readonly _options: IProposalOptions) {
    super();
    this.addClass('jpo-proposal');
  }

  /** The proposed code; empty until the answer is complete, and if nothing would change. */
  code = '';

  /** Emitted when the proposal has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  async write(signal: AbortSignal): Promise<void> {
    const { api, model, messages, before, trans } = this._options;
    let answer = '';
    try {
      for await (const event of api.chat({ model, messages }, signal)) {
        answer += event.message?.content ?? '';
        this._draft = codeOf(answer);
        this._progress = progressOf(event);
        if (answer) {
          this._message = trans.__('%1 is writing…', model);
        } else if (event.message?.thinking) {
          this._message = trans.__('%1 is thinking…', model);
        }
        this._changed.emit();
      }
      this.code = this._draft === before ? '' : this._draft;
      this._message = this.code
        ? trans.__('Accept to change the cell.')
        : trans.__('%1 would change nothing.', model);
    } catch (error) {
      this._error = signal.aborted ? '' : (error as Error).message;
    }
    this._changed.emit();
  }

  protected override render(): React.ReactElement {
    return <UseSignal signal={this._changed}>{() => this._content()}</UseSignal>;
  }

  private _content(): React.ReactElement {
    const { before, model, size, trans } = this._options;
    if (this._error) {
      return (
        <p className="jpo-error" role="alert">
          {this._error}
        </p>
      );
    }
    const labels = { '-': trans.__('removed'), '+': trans.__('added'), ' ': '' };
    return (
      <>
        {this._message ? (
          <p role="status">{this._message}</p>
        ) : (
          <Waiting
            {...{ model, trans }}
            progress={this._progress}
            since={this._since}
            size={size()}
          />
        )}
        {this._draft && (
          // The focus makes the diff scrollable by keyboard.
          <pre className="jpo-diff" tabIndex={0} aria-label={trans.__('Changes')}>
            {diffLines(before, this._draft).map(({ kind, text }, index) => (
              <span key={index} className="jpo-diff-line" data-kind={kind}>
                <span aria-label={labels[kind]}>{kind}</span>
                {` ${text}`}
              </span>
            ))}
          </pre>
        )}
      </>
    );
  }

  private readonly _changed = new Signal<this, void>(this);
  private _draft = '';
  private _message = '';
  private _progress: IProgress | null = null;
  private readonly _since = performance.now();
  private _error = '';
}

/** A dialog that cannot be accepted before the proposal is complete. */
class ProposalDialog extends Dialog<unknown> {
  constructor(
    private readonly _proposal: Proposal,
    { title, trans }: IProposalOptions
  ) {
    super({
      title,
      body: _proposal,
      buttons: [
        Dialog.cancelButton({ label: trans.__('Refuse') }),
        Dialog.okButton({ label: trans.__('Accept') })
      ]
    });
    this.allow();
    _proposal.changed.connect(() => this.allow());
  }

  override resolve(index = 1): void {
    if (index === 0 || this._proposal.code) {
      super.resolve(index);
    }
  }

  private allow(): void {
    const accept = this.node.querySelector<HTMLButtonElement>('.jp-Dialog-button.jp-mod-accept');
    if (accept) {
      // A button with the attribute "disabled" would lose the focus that the dialog gives it.
      accept.setAttribute('aria-disabled', String(!this._proposal.code));
    }
  }
}

/** Show the proposal of a model. Returns the code if the user accepts it. */
export async function propose(options: IProposalOptions): Promise<string | undefined> {
  const body = new Proposal(options);
  const controller = new AbortController();
  const dialog = new ProposalDialog(body, options);
  void body.write(controller.signal);
  const result = await dialog.launch();
  controller.abort();
  return result.button.accept ? body.code : undefined;
}
