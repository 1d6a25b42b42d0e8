import type { TranslationBundle } from '@jupyterlab/translation';
import { useEffect, useState } from 'react';

import type { ModelDetails, ModelSummary, OllamaApi } from '../api';
import { bytes } from '../sizes';

interface IDetailsProps {
  api: OllamaApi;
  model: ModelSummary;
  trans: TranslationBundle;
}

/** The details of a model. */
export function Details({ api, model, trans }: IDetailsProps): React.ReactElement {
  const [shown, setShown] = useState<ModelDetails>();
  const [error, setError] = useState('');
  useEffect(() => {
    let wanted = true;
    api.show(model.name).then(
      answer => wanted && setShown(answer),
      reason => wanted && setError(reason.message)
    );
    return () => {
      wanted = false;
    };
  }, [api, model.name, model.digest]);
  if (error) {
    return <p className="jpo-error">{error}</p>;
  }
  if (!shown) {
    return <p className="jpo-detail">{trans.__('Loading…')}</p>;
  }
  const context = Object.entries(shown.model_info).find(([key]) => key.endsWith('.context_length'));
  const facts: [string, string | undefined][] = [
    [trans.__('Capabilities'), shown.capabilities?.join(', ')],
    [trans.__('Family'), shown.details.family],
    [trans.__('Quantization'), shown.details.quantization_level],
    [trans.__('Context'), context && trans.__('%1 tokens', String(context[1]))],
    [trans.__('Size on disk'), bytes(model.size)],
    [trans.__('Digest'), model.digest.slice(0, 12)],
    [trans.__('Changed'), new Date(model.modified_at).toLocaleString()]
  ];
  const texts: [string, string | undefined][] = [
    [trans.__('Parameters'), shown.parameters],
    [trans.__('System message'), shown.system],
    [trans.__('Template'), shown.template],
    [trans.__('License'), shown.license]
  ];
  return (
    <section className="jpo-details" aria-label={trans.__('Details of %1', model.name)}>
      <dl>
        {facts.map(
          ([name, value]) =>
            value && (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            )
        )}
      </dl>
      {texts.map(
        ([name, value]) =>
          value && (
            <details key={name}>
              <summary>{name}</summary>
              <pre>{value}</pre>
            </details>
          )
      )}
    </section>
  );
}
