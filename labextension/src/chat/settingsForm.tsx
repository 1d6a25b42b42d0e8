import type { TranslationBundle } from '@jupyterlab/translation';
import { useId, useState } from 'react';

import type { Conversation } from './conversation';
import { type IChatSettings, isInRange, LONGEST_SYSTEM, RANGES } from './settings';

interface ISettingsProps {
  conversation: Conversation;
  trans: TranslationBundle;
}

/** The settings of a conversation. An empty field stands for the model's default. */
export function SettingsForm({ conversation, trans }: ISettingsProps): React.ReactElement {
  const { settings } = conversation;
  const change = (changes: IChatSettings) => {
    const changed = Object.entries({ ...settings, ...changes });
    conversation.configure(Object.fromEntries(changed.filter(([, value]) => value !== undefined)));
  };
  return (
    <div className="jpo-settings">
      <label>
        {trans.__('System prompt')}
        <textarea
          className="jpo-text"
          rows={2}
          maxLength={LONGEST_SYSTEM}
          placeholder={trans.__('The model’s default')}
          defaultValue={settings.system ?? ''}
          onChange={({ target }) =>
            change({ system: target.value.trim() ? target.value : undefined })
          }
        />
      </label>
      <div className="jpo-settings-numbers">
        <NumberField
          name="temperature"
          label={trans.__('Temperature')}
          value={settings.temperature}
          trans={trans}
          onChange={temperature => change({ temperature })}
        />
        <NumberField
          name="context"
          label={trans.__('Context, in tokens')}
          value={settings.context}
          trans={trans}
          onChange={context => change({ context })}
        />
      </div>
    </div>
  );
}

interface INumberProps {
  name: keyof typeof RANGES;
  label: string;
  value: number | undefined;
  trans: TranslationBundle;
  onChange: (value: number | undefined) => void;
}

/** A number or nothing. A number out of range is marked and not taken over. */
function NumberField({ name, label, value, trans, onChange }: INumberProps): React.ReactElement {
  const [text, setText] = useState(value === undefined ? '' : String(value));
  const [isWrong, setWrong] = useState(false);
  const hint = useId();
  const { least, most, step } = RANGES[name];
  const isValid = ({ value: typed, validity }: HTMLInputElement) =>
    typed ? isInRange(name, Number(typed)) : !validity.badInput;
  return (
    <label>
      {label}
      <input
        type="number"
        className="jp-mod-styled"
        min={least}
        max={most}
        step={step}
        placeholder={trans.__('default')}
        value={text}
        aria-invalid={isWrong}
        aria-describedby={isWrong ? hint : undefined}
        onChange={({ target }) => {
          setText(target.value);
          if (isValid(target)) {
            setWrong(false);
            onChange(target.value ? Number(target.value) : undefined);
          }
        }}
        // A number is incomplete while it is typed.
        onBlur={({ target }) => setWrong(!isValid(target))}
      />
      {isWrong && (
        <span id={hint} className="jpo-error" role="alert">
          {trans.__('A number from %1 to %2; this one is not used.', least, most)}
        </span>
      )}
    </label>
  );
}
