import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { type ISignal, Signal } from '@lumino/signaling';

import type { ChatMessage, OllamaApi } from '../api';
import { type IProgress, saidOf } from '../chat/progress';
import { codeOf, diffLines } from './diff';

/** What a model is asked to write anew. */
export interface IProposalOptions {
  api: Pick<OllamaApi, 'chat'>;
  model: string;
  messages: ChatMessage[];
  before: string;
  title: string;
  trans: TranslationBundle;
}

/** Code that a model proposes, shown beside what it would replace as it is written. */
class Proposal extends ReactWidget {
  constructor(private readonly _options: IProposalOptions) {
    super();
    this.addClass('jpo-proposal');
  }

  /** What is proposed; empty until the answer is whole, and where nothing would change. */
  code = '';

  /** Emitted when there is more to show. */
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
        this._said = answer
          ? trans.__('%1 is writing…', model)
          : event.message?.thinking
            ? trans.__('%1 is thinking…', model)
            : saidOf((event as Partial<IProgress>).status ? (event as IProgress) : null, trans);
        this._changed.emit();
      }
      this.code = this._draft === before ? '' : this._draft;
      this._said = this.code
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
    const { before, trans } = this._options;
    if (this._error) {
      return (
        <p className="jpo-error" role="alert">
          {this._error}
        </p>
      );
    }
    const said = { '-': trans.__('removed'), '+': trans.__('added'), ' ': '' };
    return (
      <>
        <p role="status">{this._said || saidOf(null, trans)}</p>
        {this._draft && (
          // Who cannot scroll by a mouse has to be able to do it by keys.
          <pre className="jpo-diff" tabIndex={0} aria-label={trans.__('Changes')}>
            {diffLines(before, this._draft).map(({ kind, text }, index) => (
              <span key={index} className="jpo-diff-line" data-kind={kind}>
                <span aria-label={said[kind]}>{kind}</span>
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
  private _said = '';
  private _error = '';
}

/** A dialog that nobody can accept before the proposal is whole. */
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
      // A button that is disabled for good would lose the focus that the dialog gives it.
      accept.setAttribute('aria-disabled', String(!this._proposal.code));
    }
  }
}

/** Show what a model proposes. Returns it if the user accepts it. */
export async function propose(options: IProposalOptions): Promise<string | undefined> {
  const body = new Proposal(options);
  const controller = new AbortController();
  const dialog = new ProposalDialog(body, options);
  void body.write(controller.signal);
  const result = await dialog.launch();
  controller.abort();
  return result.button.accept ? body.code : undefined;
}
