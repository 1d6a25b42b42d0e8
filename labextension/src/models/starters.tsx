import type { TranslationBundle } from '@jupyterlab/translation';
import { downloadIcon } from '@jupyterlab/ui-components';
import { useEffect, useState } from 'react';

import { Action } from '../action';
import type { IOllamaClient } from '../client';
import { fits, recommended } from './fit';
import { description, type ILibraryModel, LIBRARY } from './library';
import { freeText, useMemory } from './memory';

interface IStartersProps {
  client: IOllamaClient;
  trans: TranslationBundle;
}

/** The models to start with where none is installed: one to take, and the others that fit. */
export function Starters({ client, trans }: IStartersProps): React.ReactElement | null {
  const memory = useMemory(client.api);
  const [mayManage, setMayManage] = useState<boolean>();
  useEffect(() => void client.mayManage.then(setMayManage), [client]);
  if (mayManage === undefined || memory === undefined) {
    return <p className="jpo-detail">{trans.__('Looking at the memory of the server…')}</p>;
  }
  if (!mayManage) {
    return <p>{trans.__('You may not install models here. Ask the administrator for one.')}</p>;
  }
  const free = memory?.free ?? { host: Infinity, gpu: 0 };
  const best = recommended(LIBRARY, free);
  const others = LIBRARY.filter(one => one !== best && fits(one, free));
  const pull = (model: ILibraryModel) => client.pull(model.name);
  return (
    <section className="jpo-starters" aria-label={trans.__('Models to start with')}>
      {memory && <p>{freeText(memory.free, trans)}</p>}
      {best ? (
        <>
          <button className="jp-mod-styled jp-mod-accept" onClick={() => pull(best)}>
            {trans.__('Get %1', best.name)}
          </button>
          <p className="jpo-detail">
            {trans.__('Recommended for this server · %1', description(best, trans))}
          </p>
        </>
      ) : (
        <p className="jpo-error">{trans.__('No model of the library fits in that.')}</p>
      )}
      {others.length > 0 && (
        <details>
          <summary>{trans._n('%1 more that fits', '%1 more that fit', others.length)}</summary>
          {others.map(model => (
            <div className="jpo-row" key={model.name}>
              <div className="jpo-row-text">
                <span className="jpo-name">{model.name}</span>
                <span className="jpo-detail">{description(model, trans)}</span>
              </div>
              <Action
                icon={downloadIcon}
                label={trans.__('Get %1', model.name)}
                onClick={() => pull(model)}
              />
            </div>
          ))}
        </details>
      )}
    </section>
  );
}
