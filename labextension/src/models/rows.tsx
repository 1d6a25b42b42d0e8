import type { TranslationBundle } from '@jupyterlab/translation';
import {
  codeIcon,
  copyIcon,
  deleteIcon,
  infoIcon,
  lockIcon,
  runIcon,
  stopIcon
} from '@jupyterlab/ui-components';

import { Action } from '../action';
import type { LoadedModel, ModelSummary } from '../api';
import { bytes } from '../sizes';
import type { ModelActions } from './actions';

/** The props that all rows share. */
export interface IRowProps {
  actions: ModelActions;
  mayManage: boolean;
  mayRun: boolean;
  trans: TranslationBundle;
}

interface IInstalledProps extends IRowProps {
  model: ModelSummary;
  loaded: boolean;
  open: boolean;
  onToggle: () => void;
}

/** An installed model. */
export function InstalledRow(props: IInstalledProps): React.ReactElement {
  const { actions, model, trans, loaded } = props;
  const { name } = model;
  const details = [
    model.details.parameter_size,
    model.details.quantization_level?.replace('unknown', ''),
    bytes(model.size)
  ];
  return (
    <div className="jpo-row">
      <div className="jpo-row-text">
        <span className="jpo-name">{name}</span>
        <span className="jpo-detail">
          {[...details, loaded && trans.__('loaded')].filter(part => part).join(' · ')}
        </span>
      </div>
      <div className="jpo-actions">
        {props.mayRun && !loaded && (
          <Action
            icon={runIcon}
            label={trans.__('Load %1', name)}
            onClick={() => actions.load(name)}
          />
        )}
        {props.mayRun && loaded && (
          <Action
            icon={stopIcon}
            label={trans.__('Unload %1', name)}
            onClick={() => actions.unload(name)}
          />
        )}
        {props.mayRun && actions.hasNotebook && (
          <Action
            icon={codeIcon}
            label={trans.__('Insert a cell for %1', name)}
            onClick={() => actions.insertCell(model)}
          />
        )}
        {props.mayManage && (
          <Action
            icon={copyIcon}
            label={trans.__('Copy %1', name)}
            onClick={() => actions.copy(name)}
          />
        )}
        {props.mayManage && (
          <Action
            icon={deleteIcon}
            label={trans.__('Delete %1', name)}
            onClick={() => actions.delete(name)}
          />
        )}
        <Action
          icon={infoIcon}
          label={trans.__('Details of %1', name)}
          pressed={props.open}
          onClick={props.onToggle}
        />
      </div>
    </div>
  );
}

/** A loaded model. */
export function LoadedRow(props: IRowProps & { model: LoadedModel }): React.ReactElement {
  const { actions, model, trans } = props;
  const { name } = model;
  const pinned = new Date(model.expires_at).getFullYear() > new Date().getFullYear() + 10;
  const until = pinned
    ? trans.__('pinned')
    : trans.__('until %1', new Date(model.expires_at).toLocaleTimeString());
  const gpu = model.size_vram ? trans.__('%1 on GPU', bytes(model.size_vram)) : '';
  const context = trans.__('%1 tokens', model.context_length);
  return (
    <div className="jpo-row">
      <div className="jpo-row-text">
        <span className="jpo-name">{name}</span>
        <span className="jpo-detail">
          {[bytes(model.size), gpu, context, until].filter(part => part).join(' · ')}
        </span>
      </div>
      {props.mayRun && (
        <div className="jpo-actions">
          <Action
            icon={lockIcon}
            label={pinned ? trans.__('Unpin %1', name) : trans.__('Pin %1', name)}
            pressed={pinned}
            onClick={() => (pinned ? actions.load(name) : actions.pin(name))}
          />
          <Action
            icon={stopIcon}
            label={trans.__('Unload %1', name)}
            onClick={() => actions.unload(name)}
          />
        </div>
      )}
    </div>
  );
}
