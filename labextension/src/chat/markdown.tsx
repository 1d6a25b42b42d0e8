import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import { useLayoutEffect, useRef } from 'react';

import { safeMarkdown } from './answer/markdown';

const MARKDOWN = 'text/markdown';

/** An action on the code of an answer. */
export interface ICodeAction {
  readonly icon: LabIcon;
  readonly label: string;
  readonly run: (code: string) => void;
}

interface IMarkdownProps {
  rendermime: IRenderMimeRegistry;
  text: string;
  actions: readonly ICodeAction[];
}

/** Markdown that may still grow, with buttons for its code blocks. */
export function Markdown({ rendermime, text, actions }: IMarkdownProps): React.ReactElement {
  const host = useRef<HTMLDivElement>(null);
  const shown = useRef<{ renderer: IRenderMime.IRenderer; done: Promise<void>; text: string }>();
  // A widget can be detached only while it is in the page; in an effect's cleanup it is not.
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
      // Of the texts that arrived during a rendering, only the last is rendered.
      if (now.text === text && !now.renderer.isDisposed) {
        const data = { [MARKDOWN]: safeMarkdown(text) };
        await now.renderer.renderModel(rendermime.createModel({ data }));
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
