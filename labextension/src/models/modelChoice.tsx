import type { TranslationBundle } from '@jupyterlab/translation';
import type { IFormRenderer } from '@jupyterlab/ui-components';
import { UseSignal } from '@jupyterlab/ui-components';
import { useEffect } from 'react';

import type { IOllamaClient } from '../client';
import { bytes } from '../sizes';
import { withCapability } from './capability';

/** What a setting that names a model needs, and what it means to leave it empty. */
export interface IChoiceOptions {
  readonly client: IOllamaClient;
  readonly capability: string;
  /** A capability that is marked in the list, and the mark. */
  readonly marked?: readonly [capability: string, mark: string];
  readonly empty: string;
  readonly trans: TranslationBundle;
}

/** The part of a form's props that the field reads. */
interface IFieldProps {
  readonly formData?: string;
  readonly onChange: (value: string) => void;
  readonly idSchema: { readonly $id: string };
  readonly schema: { readonly title?: string };
}

/** Return the renderer of a setting that names a model: a list of the installed models. */
export function modelChoice(options: IChoiceOptions): IFormRenderer {
  // JupyterLab does not export the type of a field's props.
  const fieldRenderer = (props: unknown) => (
    <ModelChoice {...options} {...(props as IFieldProps)} />
  );
  return { fieldRenderer: fieldRenderer as IFormRenderer['fieldRenderer'] };
}

function ModelChoice(props: IChoiceOptions & IFieldProps): React.ReactElement {
  const { client, capability, marked, empty, trans, formData: value = '', onChange } = props;
  const { schema, idSchema } = props;
  useEffect(() => {
    const watching = client.watch.watch(true);
    return () => watching.dispose();
  }, [client]);
  return (
    <>
      <h3 className="jp-FormGroup-fieldLabel">{schema.title}</h3>
      <div className="jp-inputFieldWrapper">
        <UseSignal signal={client.watch.changed} initialArgs={client.watch.state}>
          {() => {
            const { models, isListed } = client.watch.state;
            const fitting = withCapability(models, capability);
            const isKnown = !value || fitting.some(one => one.name === value);
            return (
              <select
                id={idSchema.$id}
                className="form-control"
                aria-label={schema.title}
                value={value}
                onChange={event => onChange(event.target.value)}
              >
                <option value="">{empty}</option>
                {!isKnown && (
                  <option value={value}>
                    {isListed ? trans.__('%1 (not in the list of models)', value) : value}
                  </option>
                )}
                {fitting.map(one => (
                  <option key={one.name} value={one.name}>
                    {[
                      one.name,
                      bytes(one.size),
                      ...(marked && one.capabilities?.includes(marked[0]) ? [marked[1]] : [])
                    ].join(' · ')}
                  </option>
                ))}
              </select>
            );
          }}
        </UseSignal>
      </div>
    </>
  );
}
