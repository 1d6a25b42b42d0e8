import type { TranslationBundle } from '@jupyterlab/translation';

import { visibleText } from './visibleText';
import type { Approval, IQuestion } from './work';

interface IQuestionProps {
  question: IQuestion;
  /** What is asked for, such as "Run cell 3". */
  name: string;
  trans: TranslationBundle;
  onAnswer: (answer: Approval) => void;
}

interface IAnswer {
  readonly answer: Approval;
  readonly label: string;
  readonly title: string;
}

/** A question whether code may run, or another program's tool be called, with the whole code. */
export function Question({ question, name, trans, onAnswer }: IQuestionProps): React.ReactElement {
  const isRun = question.kind === 'run';
  const once: IAnswer = {
    answer: 'once',
    label: isRun ? trans.__('Run once') : trans.__('Call once'),
    title: trans.__('Allow exactly this, once')
  };
  const always: IAnswer = {
    answer: 'always',
    label: trans.__('Always in this notebook'),
    title: trans.__('Do not ask again in this notebook until the page is closed')
  };
  const never: IAnswer = {
    answer: 'never',
    label: isRun ? trans.__('Never') : trans.__('Refuse'),
    title: isRun
      ? trans.__('Refuse this run, and further ones of this task')
      : trans.__('Refuse this call')
  };
  return (
    <div className="jpo-question-card" role="group" aria-label={trans.__('%1?', name)}>
      <p>{trans.__('%1?', name)}</p>
      <pre
        role="group"
        tabIndex={0}
        aria-label={isRun ? trans.__('The code to run') : trans.__('The call')}
      >
        {visibleText(question.text)}
      </pre>
      <div className="jpo-question-answers">
        {(isRun ? [once, always, never] : [once, never]).map(({ answer, label, title }) => (
          <button
            key={answer}
            className={`jp-mod-styled ${answer === 'once' ? 'jp-mod-accept' : ''}`}
            title={title}
            onClick={() => onAnswer(answer)}
          >
            {label}
          </button>
        ))}
      </div>
    </div>
  );
}
