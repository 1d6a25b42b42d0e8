import type { TranslationBundle } from '@jupyterlab/translation';
import { checkIcon, downloadIcon } from '@jupyterlab/ui-components';
import { useState } from 'react';

import { Action } from '../action';
import type { IOllamaClient } from '../client';
import { bytes } from '../sizes';
import { type Fit, fitOf, needs } from './fit';
import { description, type ILibraryModel, isInstalled, LIBRARY, matching } from './library';
import { freeText, type IServerMemory, useMemory } from './memory';

interface ILibraryProps {
  client: IOllamaClient;
  installed: ReadonlySet<string>;
  trans: TranslationBundle;
}

/** Pulls of models: by name, or from a short list that the same field searches. */
export function LibraryList({ client, installed, trans }: ILibraryProps): React.ReactElement {
  const [text, setText] = useState('');
  const memory = useMemory(client.api);
  const found = matching(LIBRARY, text, trans);
  const name = text.trim();
  return (
    <>
      <form
        className="jpo-form"
        onSubmit={event => {
          event.preventDefault();
          if (name) {
            client.pull(name);
            setText('');
          }
        }}
      >
        <input
          className="jp-mod-styled"
          type="search"
          value={text}
          aria-label={trans.__('Search, or name a model to pull')}
          placeholder={trans.__('Search, or hf.co/user/model…')}
          onChange={event => setText(event.target.value)}
        />
        <button className="jp-mod-styled jp-mod-accept" disabled={!name}>
          {trans.__('Pull')}
        </button>
      </form>
      {memory && <p className="jpo-detail">{freeText(memory.free, trans)}</p>}
      <ul className="jpo-library" aria-label={trans.__('Models of the library')}>
        {found.map(model => (
          <LibraryRow
            key={model.name}
            {...{ model, memory: memory ?? undefined, trans }}
            state={
              isInstalled(model, installed)
                ? 'installed'
                : client.transfers.all.some(one => one.name === model.name)
                  ? 'pulling'
                  : 'absent'
            }
            pull={() => client.pull(model.name)}
          />
        ))}
      </ul>
      <p className="jpo-detail" role="status">
        {!found.length && trans.__('No model of this list matches. Pull takes any name.')}
      </p>
    </>
  );
}

interface IRowProps {
  model: ILibraryModel;
  state: 'installed' | 'pulling' | 'absent';
  memory: IServerMemory | undefined;
  pull: () => void;
  trans: TranslationBundle;
}

function LibraryRow({ model, state, memory, pull, trans }: IRowProps): React.ReactElement {
  const fit = memory && fitOf(model, memory.free, memory.capacity);
  const texts: Record<Fit, string> = {
    gpu: trans.__('fits on the GPU'),
    free: trans.__('fits'),
    busy: trans.__('more than is free'),
    never: trans.__('too large for this server')
  };
  const needed = trans.__('needs %1', bytes(needs(model)));
  return (
    <li className="jpo-row">
      <div className="jpo-row-text">
        <span className="jpo-name">{model.name}</span>
        <span className="jpo-detail">{description(model, trans)}</span>
        <span className="jpo-detail" data-fit={fit}>
          {fit ? `${needed} · ${texts[fit]}` : needed}
        </span>
      </div>
      {state === 'installed' && (
        <span className="jpo-installed">
          <checkIcon.react tag="span" height="14px" width="14px" />
          {trans.__('installed')}
        </span>
      )}
      {state === 'pulling' && <span className="jpo-detail">{trans.__('pulling…')}</span>}
      {state === 'absent' && (
        <Action icon={downloadIcon} label={trans.__('Pull %1', model.name)} onClick={pull} />
      )}
    </li>
  );
}
