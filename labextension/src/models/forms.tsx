import type { TranslationBundle } from '@jupyterlab/translation';
import { downloadIcon } from '@jupyterlab/ui-components';
import { useState } from 'react';

import { Action } from '../action';
import type { IOllamaClient } from '../client';
import { fits } from './fit';
import { description, LIBRARY } from './library';
import { useMemory } from './starters';
import { makeModel } from './upload';

interface IFormProps {
  client: IOllamaClient;
  trans: TranslationBundle;
}

/** Pulls of models: by name, or from a short list. */
export function Library(props: IFormProps & { installed: Set<string> }): React.ReactElement {
  const { client, trans } = props;
  const [name, setName] = useState('');
  const memory = useMemory(client.api);
  const pull = (model: string) => client.pull(model);
  return (
    <>
      <form
        className="jpo-form"
        onSubmit={event => {
          event.preventDefault();
          if (name.trim()) {
            pull(name.trim());
            setName('');
          }
        }}
      >
        <input
          className="jp-mod-styled"
          value={name}
          aria-label={trans.__('Name of a model to pull')}
          placeholder={trans.__('gemma3:1b, hf.co/user/model…')}
          onChange={event => setName(event.target.value)}
        />
        <button className="jp-mod-styled jp-mod-accept">{trans.__('Pull')}</button>
      </form>
      {LIBRARY.map(model => (
        <div className="jpo-row" key={model.name}>
          <div className="jpo-row-text">
            <span className="jpo-name">{model.name}</span>
            <span className="jpo-detail">
              {description(model, trans)}
              {memory && !fits(model, memory) && ` · ${trans.__('more than the free memory')}`}
            </span>
          </div>
          {props.installed.has(model.name) || props.installed.has(`${model.name}:latest`) ? (
            <span className="jpo-detail">{trans.__('installed')}</span>
          ) : (
            <Action
              icon={downloadIcon}
              label={trans.__('Pull %1', model.name)}
              onClick={() => pull(model.name)}
            />
          )}
        </div>
      ))}
    </>
  );
}

/** A new model from files of this computer, a Modelfile, or both. */
export function Create({ client, trans }: IFormProps): React.ReactElement {
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
