import type { TranslationBundle } from '@jupyterlab/translation';
import { useId } from 'react';

import type { RunPolicy } from './policy';
import type { Mode } from './work';

const MODES: readonly Mode[] = ['ask', 'edit', 'agent'];

interface IModeSwitchProps {
  mode: Mode;
  /** Whether the administrator allows a mode. */
  allows: (mode: Mode) => boolean;
  /** Whether the administrator lets models run cells. */
  runs: RunPolicy;
  /** Why the model cannot work in the mode; empty if it can. */
  problem: string;
  trans: TranslationBundle;
  onChoose: (mode: Mode) => void;
}

/** The choice of what the model may do. */
export function ModeSwitch(props: IModeSwitchProps): React.ReactElement {
  const { mode, allows, runs, problem, trans, onChoose } = props;
  const group = useId();
  const agentTitles: Readonly<Record<RunPolicy, string>> = {
    ask: trans.__('The model works step by step, and asks before it runs a cell'),
    never: trans.__('The model works step by step, and runs no cell'),
    allow: trans.__('The model works step by step, and runs cells without a question')
  };
  const notes: Readonly<Record<RunPolicy, string>> = {
    ask: '',
    never: trans.__('The administrator does not let models run cells.'),
    allow: trans.__('The administrator lets models run cells without a question.')
  };
  const labels: Readonly<Record<Mode, [string, string]>> = {
    ask: [trans.__('Ask'), trans.__('The model answers and changes nothing')],
    edit: [trans.__('Edit'), trans.__('The model proposes changes of cells, and runs nothing')],
    agent: [trans.__('Agent'), agentTitles[runs]]
  };
  const forbidden = trans.__('The administrator does not allow this mode');
  return (
    <>
      <div className="jpo-modes" role="radiogroup" aria-label={trans.__('What the model may do')}>
        {MODES.map(one => (
          <label key={one} className="jpo-mode" title={allows(one) ? labels[one][1] : forbidden}>
            <input
              type="radio"
              name={group}
              checked={one === mode}
              disabled={!allows(one)}
              onChange={() => onChoose(one)}
            />
            <span>{labels[one][0]}</span>
          </label>
        ))}
      </div>
      <p className="jpo-detail jpo-mode-problem" role="status">
        {problem || (mode === 'agent' ? notes[runs] : '')}
      </p>
    </>
  );
}
