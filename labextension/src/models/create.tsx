import type { TranslationBundle } from '@jupyterlab/translation';
import { useState } from 'react';

import type { IOllamaClient } from '../client';
import { makeModel } from './upload';

interface ICreateProps {
  client: IOllamaClient;
  trans: TranslationBundle;
}

/** A new model from files of this computer, a Modelfile, or both. */
export function Create({ client, trans }: ICreateProps): React.ReactElement {
  const [name, setName] = useState('');
  const [modelfile, setModelfile] = useState('');
  const [files, setFiles] = useState<File[]>([]);
  const ready = name.trim() && (files.length || modelfile.trim());
  const choose = async (chosen: File[]) => {
    const scripts = chosen.filter(file => /modelfile/i.test(file.name));
    if (scripts.length) {
      setModelfile(await scripts[0].text());
    }
    setFiles(chosen.filter(file => !scripts.includes(file)));
  };
  return (
    <details className="jpo-create">
      <summary>{trans.__('Create a model')}</summary>
      <form
        className="jpo-form jpo-form-tall"
        onSubmit={event => {
          event.preventDefault();
          if (ready) {
            const creation = { name: name.trim(), modelfile, files };
            const work = (signal: AbortSignal) => makeModel(client.api, creation, signal);
            client.transfers.start(creation.name, work, false);
          }
        }}
      >
        <label>
          {trans.__('Name')}
          <input
            className="jp-mod-styled"
            value={name}
            onChange={event => setName(event.target.value)}
          />
        </label>
        <label>
          {trans.__('Files: GGUF, Modelfile')}
          <input
            type="file"
            multiple
            onChange={event => void choose([...(event.target.files ?? [])])}
          />
        </label>
        <label>
          {trans.__('Modelfile')}
          <textarea
            className="jp-mod-styled"
            rows={5}
            value={modelfile}
            placeholder={'FROM gemma3:1b\nSYSTEM …'}
            onChange={event => setModelfile(event.target.value)}
          />
        </label>
        <button className="jp-mod-styled jp-mod-accept" disabled={!ready}>
          {trans.__('Create')}
        </button>
      </form>
    </details>
  );
}
