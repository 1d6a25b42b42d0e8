import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import { useLayoutEffect, useRef } from 'react';

import { adopt } from './answer/adopt';
import { safeMarkdown } from './answer/markdown';
import { AwaitedTypesetter } from './answer/typesetter';

const MARKDOWN = 'text/markdown';
/** What a text with a formula has. Without one there is no need to wait for MathJax to load. */
const FORMULA = /\$|\\begin\{/;

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

/**
 * Markdown that may still grow, with buttons for its code blocks.
 *
 * Each rendering is drawn out of sight, its formulas included, before it replaces the one before.
 */
export function Markdown({ rendermime, text, actions }: IMarkdownProps): React.ReactElement {
  const host = useRef<HTMLDivElement>(null);
  const last = useRef({ text: '', done: Promise.resolve() });
  useLayoutEffect(() => {
    const now = last.current;
    now.text = text;
    now.done = now.done
      .then(async () => {
        // Of the texts that arrived during a rendering, only the last is rendered.
        if (now.text === text && host.current?.isConnected) {
          await draw(host.current, text, rendermime, actions);
        }
      })
      .catch((error: Error) => {
        host.current?.replaceChildren(error.message);
      });
  }, [rendermime, text, actions]);
  return (
    <div className="jpo-markdown">
      <div
        className="jp-RenderedHTMLCommon jp-RenderedMarkdown"
        data-mime-type={MARKDOWN}
        ref={host}
      />
    </div>
  );
}

async function draw(
  host: HTMLElement,
  text: string,
  rendermime: IRenderMimeRegistry,
  actions: readonly ICodeAction[]
): Promise<void> {
  const renderer = rendermime.createRenderer(MARKDOWN);
  // MathJax measures the text around a formula, so the draft is in the page.
  const draft = document.createElement('div');
  draft.className = 'jpo-draft';
  draft.setAttribute('aria-hidden', 'true');
  (host.closest('.jpo-panel') ?? host).append(draft);
  Widget.attach(renderer, draft);
  try {
    const source = safeMarkdown(text);
    await renderer.renderModel(rendermime.createModel({ data: { [MARKDOWN]: source } }));
    const { latexTypesetter } = rendermime;
    if (latexTypesetter instanceof AwaitedTypesetter && FORMULA.test(source)) {
      await latexTypesetter.drawn(renderer.node);
    }
    addBars(renderer.node, actions);
    adopt(host, renderer.node);
  } finally {
    // A widget can be detached only while it is in the page.
    if (draft.isConnected) {
      Widget.detach(renderer);
    }
    renderer.dispose();
    draft.remove();
  }
}

function addBars(node: HTMLElement, actions: readonly ICodeAction[]): void {
  for (const block of node.querySelectorAll('pre')) {
    // A long line is reached by keys.
    block.tabIndex = 0;
    const bar = document.createElement('div');
    bar.className = 'jpo-code-bar';
    for (const { icon, label, run } of actions) {
      const button = document.createElement('button');
      button.className = 'jpo-action';
      button.title = label;
      button.setAttribute('aria-label', label);
      button.append(icon.element({ tag: 'span', height: '14px', width: '14px' }));
      // The block after an unchanged bar may be a newer one.
      button.onclick = () => run((bar.nextElementSibling?.textContent ?? '').replace(/\n$/, ''));
      bar.append(button);
    }
    block.before(bar);
  }
}
