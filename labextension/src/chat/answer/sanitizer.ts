import type { ISanitizer } from '@jupyterlab/apputils';
import type { IRenderMime } from '@jupyterlab/rendermime';

/** The elements of markdown, highlighted code and diagrams, with their attributes. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  a: ['href', 'title'],
  code: ['class'],
  div: ['class'],
  figcaption: ['class'],
  img: ['alt', 'src', 'width'],
  input: ['checked', 'disabled', 'type'],
  ol: ['start'],
  span: ['class'],
  td: ['align'],
  th: ['align']
};
const BARE =
  'b blockquote br del details em figure h1 h2 h3 h4 h5 h6 hr i li p pre s strong sub summary sup ' +
  'table tbody thead tr ul';
const TAGS: ReadonlySet<string> = new Set([...Object.keys(ALLOWED), ...BARE.split(' ')]);
const ADDRESS = /^(?:https?:\/\/|mailto:)/i;
/** Classes by which JupyterLab and Lumino find their own elements. */
const FOREIGN_CLASS = /^(?:jp|jpo|lm|p)-(?!RenderedMermaid|mod-warning|sr-only)/;

/**
 * Remove all HTML that markdown does not produce.
 *
 * JupyterLab's sanitizer keeps attributes on which JupyterLab acts: before 4.6, a click on
 * `data-commandlinker-command` runs a command. It also keeps images, whose URLs could leak the
 * conversation. safeMarkdown already removes both; this is a second line of defence against parsers
 * that read the markdown otherwise.
 */
export function strict(sanitizer: IRenderMime.ISanitizer): IRenderMime.ISanitizer {
  return {
    sanitize: (dirty: string, options?: ISanitizer.IOptions) => {
      const page = new DOMParser().parseFromString(sanitizer.sanitize(dirty, options), 'text/html');
      for (const element of [...page.body.querySelectorAll('*')]) {
        if (TAGS.has(element.localName)) {
          keepAllowed(element);
        } else {
          element.replaceWith(element.textContent ?? '');
        }
      }
      return page.body.innerHTML;
    }
  };
}

function keepAllowed(element: Element): void {
  for (const { name } of [...element.attributes]) {
    if (!ALLOWED[element.localName]?.includes(name)) {
      element.removeAttribute(name);
    }
  }
  const classes = [...element.classList].filter(name => FOREIGN_CLASS.test(name));
  element.classList.remove(...classes);
  if (!ADDRESS.test(element.getAttribute('href') ?? '')) {
    element.removeAttribute('href');
  }
  if (element.localName === 'img' && !element.getAttribute('src')?.startsWith('data:image/')) {
    element.replaceWith(element.getAttribute('alt') ?? '');
  } else if (element.localName === 'input') {
    element.setAttribute('type', 'checkbox');
    element.setAttribute('disabled', '');
  }
}
