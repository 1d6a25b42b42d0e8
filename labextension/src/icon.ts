import { LabIcon } from '@jupyterlab/ui-components';

/** A box of three layers seen from a corner: the icon of models. */
export const modelIcon = new LabIcon({
  name: 'jupyter-ollama:model',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">' +
    '<g class="jp-icon3" fill="#616161"><path d="M12 2l10 5-10 5L2 7z"/>' +
    '<path d="M4.2 10.9L12 14.8l7.8-3.9L22 12l-10 5-10-5z"/>' +
    '<path d="M4.2 15.9L12 19.8l7.8-3.9L22 17l-10 5-10-5z"/></g></svg>'
});

/** A balloon with lines: the icon of chats. */
export const chatIcon = new LabIcon({
  name: 'jupyter-ollama:chat',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">' +
    '<path class="jp-icon3" fill="#616161" d="M4 3h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H9l-5 4v-4a2 2 0 0 1-2-2V5' +
    'a2 2 0 0 1 2-2zm2 4v2h12V7zm0 4v2h8v-2z"/></svg>'
});
