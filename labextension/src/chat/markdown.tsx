import type { ISanitizer } from '@jupyterlab/apputils';
import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import { useLayoutEffect, useRef } from 'react';

const MARKDOWN = 'text/markdown';

/** What can be done with the code of an answer. */
export interface ICodeAction {
  readonly icon: LabIcon;
  readonly label: string;
  readonly run: (code: string) => void;
}

/**
 * Keep a page from fetching the pictures that a model names.
 *
 * The address of a picture could carry what the conversation says to a stranger.
 */
export function withoutRemoteImages(sanitizer: IRenderMime.ISanitizer): IRenderMime.ISanitizer {
  return {
    sanitize: (dirty: string, options?: ISanitizer.IOptions) => {
      const page = new DOMParser().parseFromString(sanitizer.sanitize(dirty, options), 'text/html');
      for (const image of page.querySelectorAll('img, source, video, audio')) {
        const address = image.getAttribute('src') ?? '';
        if (!address.startsWith('data:')) {
          const link = page.createElement('a');
          link.href = address;
          link.rel = 'noopener noreferrer';
          link.textContent = image.getAttribute('alt') || address;
          image.replaceWith(link);
        }
      }
      for (const element of page.querySelectorAll('[style*="url("]')) {
        element.removeAttribute('style');
      }
      return page.body.innerHTML;
    }
  };
}

interface IMarkdownProps {
  rendermime: IRenderMimeRegistry;
  text: string;
  actions: readonly ICodeAction[];
}

/** Markdown that may still grow, with buttons at its code. */
export function Markdown({ rendermime, text, actions }: IMarkdownProps): React.ReactElement {
  const host = useRef<HTMLDivElement>(null);
  const shown = useRef<{ renderer: IRenderMime.IRenderer; done: Promise<void>; text: string }>();
  // A widget can be detached only while it is in the page, which it no more is in an effect's end.
  useLayoutEffect(() => {
    const renderer = rendermime.createRenderer(MARKDOWN);
    shown.current = { renderer, done: Promise.resolve(), text: '' };
    if (host.current) {
      Widget.attach(renderer, host.current);
    }
    return () => {
      shown.current = undefined;
      renderer.dispose();
    };
  }, [rendermime]);
  useLayoutEffect(() => {
    const now = shown.current;
    if (!now) {
      return;
    }
    now.text = text;
    now.done = now.done.then(async () => {
      // Of the texts that came while one was drawn, only the last counts.
      if (now.text === text && !now.renderer.isDisposed) {
        await now.renderer.renderModel(rendermime.createModel({ data: { [MARKDOWN]: text } }));
        addBars(now.renderer.node, actions);
      }
    });
  }, [rendermime, text, actions]);
  return <div className="jpo-markdown" ref={host} />;
}

function addBars(node: HTMLElement, actions: readonly ICodeAction[]): void {
  for (const block of node.querySelectorAll('pre')) {
    if (block.previousElementSibling?.classList.contains('jpo-code-bar')) {
      continue;
    }
    const bar = document.createElement('div');
    bar.className = 'jpo-code-bar';
    for (const { icon, label, run } of actions) {
      const button = document.createElement('button');
      button.className = 'jpo-action';
      button.title = label;
      button.setAttribute('aria-label', label);
      button.append(icon.element({ tag: 'span', height: '14px', width: '14px' }));
      button.onclick = () => run((block.textContent ?? '').replace(/\n$/, ''));
      bar.append(button);
    }
    block.before(bar);
  }
}
