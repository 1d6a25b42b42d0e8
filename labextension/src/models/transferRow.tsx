import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, pauseIcon, runIcon } from '@jupyterlab/ui-components';

import { Action } from '../action';
import { bytes, clock } from '../sizes';
import type { ITransfer, Transfers } from './pulls';

interface ITransferProps {
  transfer: ITransfer;
  transfers: Transfers;
  trans: TranslationBundle;
}

/** A running pull or creation, with its layers. */
export function TransferRow({ transfer, transfers, trans }: ITransferProps): React.ReactElement {
  const { name, state } = transfer;
  const status = state === 'paused' ? trans.__('paused') : transfer.status;
  return (
    <div className="jpo-transfer" role="group" aria-label={name}>
      <div className="jpo-row">
        <div className="jpo-row-text">
          <span className="jpo-name">{name}</span>
          <span className="jpo-detail" role="status">
            {state === 'failed' ? trans.__('Failed: %1', status) : status}
          </span>
          {state === 'running' && transfer.rate > 0 && (
            <span className="jpo-detail">
              {trans.__('%1/s, %2 left', bytes(transfer.rate), clock(transfer.secondsLeft))}
            </span>
          )}
        </div>
        <div className="jpo-actions">
          {state === 'running' && transfer.canResume && (
            <Action
              icon={pauseIcon}
              label={trans.__('Pause %1', name)}
              onClick={() => transfers.pause(name)}
            />
          )}
          {state !== 'running' && (
            <Action
              icon={runIcon}
              label={trans.__('Resume %1', name)}
              onClick={() => transfers.resume(name)}
            />
          )}
          <Action
            icon={closeIcon}
            label={trans.__('Cancel %1', name)}
            onClick={() => transfers.cancel(name)}
          />
        </div>
      </div>
      {transfer.layers.map(layer => (
        <label className="jpo-layer" key={layer.digest}>
          <span className="jpo-layer-name" title={layer.digest}>
            {layer.digest.replace(/^sha256:(.{12}).*/, '$1')}
          </span>
          <progress max={layer.total} value={layer.completed} />
          <span>
            {bytes(layer.completed)} / {bytes(layer.total)}
          </span>
        </label>
      ))}
    </div>
  );
}
