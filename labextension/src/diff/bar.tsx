import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';

import { CommandIDs } from '../commandIds';
import { keepKeys } from './addedLines';
import { openProposals } from './open';

/** What a bar shows of a proposal. */
export interface IBarState {
  readonly message: React.ReactNode;
  readonly error: string;
  /** Whether the proposal is complete, so that it can be accepted. */
  readonly isComplete: boolean;
  /** The number of changes that wait for a decision. */
  readonly count: number;
}

interface IBarProps {
  readonly author: string;
  readonly state: () => IBarState;
  readonly changed: ISignal<unknown, void>;
  readonly accept: () => void;
  readonly refuse: () => void;
  readonly next: () => void;
  readonly trans: TranslationBundle;
}

/** A row in a cell with the state of a proposal and the buttons for the whole of it. */
export class ProposalBar extends ReactWidget {
  constructor(private readonly _props: IBarProps) {
    super();
    const { author, trans } = _props;
    this.addClass('jpo-proposal-bar');
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', trans.__('Proposal of %1', author));
    keepKeys(this.node);
    this.node.addEventListener('keydown', event => {
      if (event.key === 'Escape') {
        _props.refuse();
      }
    });
  }

  protected override render(): React.ReactElement {
    return <UseSignal signal={this._props.changed}>{() => this.content()}</UseSignal>;
  }

  private content(): React.ReactElement {
    const { state, accept, refuse, next, trans } = this._props;
    const { message, error, isComplete, count } = state();
    // Other messages bring their own role.
    const isText = typeof message === 'string';
    const words =
      count > 1
        ? { accept: trans.__('Accept all'), refuse: trans.__('Refuse all') }
        : { accept: trans.__('Accept'), refuse: trans.__('Refuse') };
    if (error) {
      return (
        <>
          <div className="jpo-proposal-text jpo-error" role="alert">
            {error}
          </div>
          <BarButton text={trans.__('Close')} onClick={refuse} />
        </>
      );
    }
    return (
      <>
        <div className="jpo-proposal-text" role={isText ? 'status' : undefined}>
          {message}
        </div>
        <div className="jpo-bar-buttons">
          {isComplete && count > 1 && (
            <BarButton
              text={trans.__('Next')}
              label={trans.__('Go to the next change')}
              command={CommandIDs.nextChange}
              onClick={next}
            />
          )}
          <BarButton
            text={isComplete ? words.refuse : trans.__('Stop')}
            label={isComplete ? trans.__('Refuse all changes') : trans.__('Stop and refuse')}
            command={CommandIDs.refuseProposal}
            onClick={refuse}
          />
          {isComplete && (
            <BarButton
              text={words.accept}
              label={trans.__('Accept all changes')}
              command={CommandIDs.acceptProposal}
              isMain={true}
              onClick={accept}
            />
          )}
        </div>
      </>
    );
  }
}

interface IBarButtonProps {
  readonly text: string;
  readonly label?: string;
  readonly command?: string;
  readonly isMain?: boolean;
  readonly onClick: () => void;
}

function BarButton(props: IBarButtonProps): React.ReactElement {
  const { text, label = text, command, isMain, onClick } = props;
  const keys = command && openProposals.keysOf(command);
  return (
    <button
      type="button"
      className={`jpo-bar-button${isMain ? ' jpo-mod-main' : ''}`}
      aria-label={label}
      title={keys ? `${label} (${keys})` : label}
      onClick={onClick}
    >
      {text}
    </button>
  );
}
