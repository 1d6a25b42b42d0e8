import type { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';

import type { Agent } from './agent';
import { Question } from './question';
import { iconOf, nameOf, reasonOf, stateOf } from './stepNames';
import { visibleText } from './visibleText';
import type { IStep, IWork } from './work';

interface IWorkProps {
  work: IWork;
  /** Null where the agent is switched off: a saved work is shown without actions. */
  agent: Agent | null;
  trans: TranslationBundle;
  /** Whether the work was stopped, perhaps by a reload of the page. */
  isStopped: boolean;
}

/** The steps of a work, its budget, and the button that undoes its changes. */
export function WorkLog({ work, agent, trans, isStopped }: IWorkProps): React.ReactElement {
  const isUnderWay = !work.end && !isStopped;
  const steps = isUnderWay ? work.steps : work.steps.map(asEnded);
  return (
    <section className="jpo-work" aria-label={trans.__('Steps in %1', work.notebook)}>
      {work.problems?.map(problem => (
        <p key={problem} className="jpo-detail">
          {trans.__('Some tools are missing: %1.', problem)}
        </p>
      ))}
      {work.said.map((text, round) => (
        <div key={round}>
          {text.trim() && <p className="jpo-said">{text.trim()}</p>}
          {steps
            .filter(step => step.round === round)
            .map(step => (
              <Step key={step.id} {...{ step, work, agent, trans }} />
            ))}
        </div>
      ))}
      <Budget {...{ work, trans, isUnderWay }} />
      {agent && (
        <UseSignal signal={agent.changed}>
          {() => <Actions {...{ work, agent, trans, isUnderWay }} />}
        </UseSignal>
      )}
    </section>
  );
}

interface IStepProps extends Omit<IWorkProps, 'isStopped'> {
  step: IStep;
}

function Step({ step, work, agent, trans }: IStepProps): React.ReactElement {
  const Icon = iconOf(step);
  const name = nameOf(step, trans);
  const state = stateOf(step, trans);
  const { position, question } = step;
  const isProposed = step.state === 'asks' && !question;
  return (
    <div className="jpo-step" data-state={step.state}>
      <details className="jpo-aside">
        <summary>
          <Icon.react tag="span" height="14px" width="14px" aria-hidden="true" />
          <span className="jpo-step-name">{name}</span>
          <span className="jpo-step-state">{state}</span>
        </summary>
        {Object.keys(step.arguments).length > 0 && (
          <pre role="group" tabIndex={0} aria-label={trans.__('Arguments')}>
            {visibleText(argumentsText(step))}
          </pre>
        )}
        {step.result !== undefined && (
          <pre role="group" tabIndex={0} aria-label={trans.__('Result')}>
            {visibleText(step.result)}
          </pre>
        )}
      </details>
      {isProposed && (
        <p className="jpo-step-hint" role="status">
          {trans.__('Accept or refuse the change in the notebook.')}
          {agent && position && (
            <button className="jpo-chip" onClick={() => agent.reveal(work.id, position)}>
              {trans.__('Show it')}
            </button>
          )}
        </p>
      )}
      {agent && question && (
        <Question
          {...{ question, name, trans }}
          onAnswer={answer => agent.answer(work.id, step.id, answer)}
        />
      )}
    </div>
  );
}

interface IBudgetProps {
  work: IWork;
  trans: TranslationBundle;
  isUnderWay: boolean;
}

function Budget({ work, trans, isUnderWay }: IBudgetProps): React.ReactElement {
  const { use, bounds, end } = work;
  const reason = isUnderWay ? '' : reasonOf(end ?? 'stopped', trans);
  return (
    <>
      {reason && <p className="jpo-detail">{reason}</p>}
      {work.isTruncated && (
        <p className="jpo-detail">
          {trans.__(
            'The context of the model is too short: it did not read the beginning. Settings, "Ollama: agent" has its length.'
          )}
        </p>
      )}
      <p className="jpo-detail jpo-budget">
        {trans.__(
          '%1 of %2 steps · %3 of %4 tokens · %5 of %6 min',
          use.steps,
          bounds.steps,
          use.tokens.toLocaleString(),
          bounds.tokens.toLocaleString(),
          (use.seconds / 60).toFixed(1),
          bounds.minutes
        )}
      </p>
    </>
  );
}

interface IActionsProps {
  work: IWork;
  agent: Agent;
  trans: TranslationBundle;
  isUnderWay: boolean;
}

function Actions({ work, agent, trans, isUnderWay }: IActionsProps): React.ReactElement | null {
  const count = agent.changesOf(work.id);
  return (
    <div className="jpo-work-actions">
      {agent.runsFreely(work.id) && (
        <button className="jpo-chip" onClick={() => agent.askAgain(work.id)}>
          {trans.__('Ask again before a run')}
        </button>
      )}
      {count > 0 && !isUnderWay && (
        <button
          className="jpo-chip"
          title={trans.__('Restore the cells as they were before this task')}
          onClick={() => void agent.undo(work.id)}
        >
          {trans._n('Undo all (%1 cell)', 'Undo all (%1 cells)', count)}
        </button>
      )}
    </div>
  );
}

/** Return a step of an ended work: what was under way then is not any more. */
function asEnded(step: IStep): IStep {
  const isOpen = step.state === 'runs' || step.state === 'asks';
  return isOpen ? { ...step, state: 'failed', question: undefined } : step;
}

/** Return the arguments for a person: a text alone, several as JSON. */
function argumentsText({ arguments: args }: IStep): string {
  const source = args.source;
  if (typeof source !== 'string') {
    return JSON.stringify(args, null, 2);
  }
  const others = Object.entries(args).filter(([name]) => name !== 'source');
  const head = others.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join('\n');
  return [head, source].filter(part => part).join('\n\n');
}
