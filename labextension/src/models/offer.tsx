import type { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';

import type { AutoloadOffer } from './autoload';

interface IOfferProps {
  offer: AutoloadOffer;
  trans: TranslationBundle;
}

/** The offer to load the magics in every new kernel, while it is open. */
export function Offer({ offer, trans }: IOfferProps): React.ReactElement {
  return (
    <UseSignal signal={offer.changed}>
      {() =>
        offer.isOpen && (
          <div className="jpo-offer" role="group" aria-label={trans.__('Load the magics')}>
            <p>{offer.question}</p>
            <div className="jpo-offer-buttons">
              {offer.answers.map(({ label, displayType, callback }) => (
                <button
                  key={label}
                  className={`jp-mod-styled jp-mod-${displayType === 'accent' ? 'accept' : 'reject'}`}
                  onClick={event => callback(event.nativeEvent)}
                >
                  {label}
                </button>
              ))}
            </div>
          </div>
        )
      }
    </UseSignal>
  );
}
