import { HTMLSelect, listIcon } from '@jupyterlab/ui-components';

import { Action } from '../action';
import type { IPartProps } from './props';

/** The choice of the model, and the actions on the whole conversation. */
export function Header(props: IPartProps): React.ReactElement {
  const { client, conversation, trans, chatActions, panel } = props;
  const names = client.watch.state.models
    .filter(one => one.capabilities?.includes('completion') ?? true)
    .map(one => one.name);
  const { model } = panel;
  const options = names.includes(model) || !model ? names : [model, ...names];
  return (
    <div className="jpo-header">
      <Action
        icon={listIcon}
        label={trans.__('Conversations')}
        pressed={panel.isListed}
        onClick={() => panel.showList(!panel.isListed)}
      />
      <div className="jpo-picker">
        <HTMLSelect
          aria-label={trans.__('Model')}
          title={trans.__('Model')}
          value={model}
          options={options}
          onChange={event => panel.choose(event.target.value)}
        />
      </div>
      {conversation.turns.length > 0 &&
        chatActions.map(({ icon, label, run }) => (
          <Action key={label} icon={icon} label={label} onClick={run} />
        ))}
    </div>
  );
}
