// @vitest-environment jsdom
import { removeMath, replaceMath } from '@jupyterlab/rendermime/lib/latex';
import { marked } from 'marked';
import { describe, expect, it } from 'vitest';

import answers from '../../tests/data/answers.json';
import hostile from '../../tests/data/hostile_answers.json';
import { safeMarkdown } from '../src/chat/answer/markdown';
import { strict } from '../src/chat/answer/sanitizer';

/** Render markdown as JupyterLab does before sanitizing, which it omits in trusted outputs. */
async function drawn(text: string): Promise<string> {
  const parts = removeMath(safeMarkdown(text));
  return replaceMath(await marked(parts.text, { gfm: true, async: true }), parts.math);
}

/** Return the elements of a page that harmless markdown does not produce. */
function found(html: string): string[] {
  const page = new DOMParser().parseFromString(html, 'text/html');
  const tags = /^(?:A|BLOCKQUOTE|BR|CODE|DEL|EM|H[1-6R]|INPUT|LI|OL|P|PRE|SPAN|STRONG|T\w+|UL)$/;
  const names = /^(?:align|checked|class|disabled|start|title|type)$/;
  return [...page.body.querySelectorAll('*')].flatMap(node => [
    ...(tags.test(node.tagName) ? [] : [node.outerHTML]),
    ...[...node.attributes]
      .filter(({ name, value }) => !names.test(name) && !/^(?:https?:\/\/|mailto:)/i.test(value))
      .map(({ name, value }) => `${name}=${value}`)
  ]);
}

describe('safeMarkdown', () => {
  it.each([...answers.unchanged, ...answers.formulas])('leaves %j as it is', text => {
    expect(safeMarkdown(text)).toBe(text);
  });

  it.each(answers.changed)('makes harmless text of %j', (text, expected) => {
    expect(safeMarkdown(text)).toBe(expected);
  });

  it.each(answers.dollars)('finds no formula in %j', text => {
    expect(safeMarkdown(text)).not.toContain('$');
    expect(removeMath(safeMarkdown(text)).math).toEqual([]);
  });

  it.each([...hostile.places, ...hostile.others, ...hostile.actions])('disarms %j', async text => {
    for (const image of text.includes('HERE') ? hostile.images : ['']) {
      const answer = text.replaceAll('HERE', image).replaceAll('URL', 'http://h/x');
      expect(found(await drawn(answer)), answer).toEqual([]);
    }
  });

  it.each([1, 2, 3, 4, 5, 6])('disarms what parsers disagree about (%i)', async seed => {
    const pick = choices(seed);
    const atoms = [...hostile.images, ...hostile.atoms];
    for (let count = 0; count < 100; count++) {
      const start = Array.from({ length: pick([4, 8, 14, 22]) }, () => pick(atoms)).join('');
      const code = `\n\`\`\`\n${pick(hostile.ends)}\n${pick(hostile.images)}\n\`\`\`\n`;
      const answer = (start + code + pick(hostile.ends)).replaceAll('URL', 'http://h/x');
      expect(found(await drawn(answer)), answer).toEqual([]);
    }
  });
});

/** Return a function that picks from a list, in an order that the seed determines. */
function choices(seed: number): <T>(list: readonly T[]) => T {
  let state = seed;
  return list => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return list[Math.floor((state / 2 ** 32) * list.length)];
  };
}

describe('strict', () => {
  // Older versions of JupyterLab keep more than newer ones; this one keeps all.
  const { sanitize } = strict({ sanitize: dirty => dirty });

  it.each([
    ['<button data-commandlinker-command="x">a</button>', 'a'],
    [
      '<p data-commandlinker-command="x" id="a" class="jp-Dialog b" style="color: red">a</p>',
      '<p>a</p>'
    ],
    ['<a href="javascript:x">a</a><a href="#b">b</a>', '<a>a</a><a>b</a>'],
    ['<a href="https://x.org/" target="y" download>a</a>', '<a href="https://x.org/">a</a>'],
    ['<img src="http://h/" alt="a"><img src="data:text/html,x">', 'a'],
    ['<form><input name="a" type="image" src="http://h/"></form>', ''],
    ['<svg><a href="http://h/">a</a></svg><math><mi>x</mi></math>', 'ax'],
    ['<p><iframe src="x"></iframe><style>p {}</style></p>', '<p>p {}</p>'],
    ['<span class="lm-Widget jp-Button">a</span>', '<span class="">a</span>']
  ])('keeps nothing on which JupyterLab acts of %j', (dirty, clean) => {
    expect(sanitize(dirty)).toBe(clean);
  });

  it.each([
    '<h2>a</h2><pre><code class="language-py"><span class="ͼ1a">x</span></code></pre>',
    '<table><thead><tr><th align="left">a</th></tr></thead></table><ol start="2"><li>b</li></ol>',
    '<div class="jp-RenderedMermaid"><figure><img src="data:image/svg+xml,x" width="9"></figure></div>',
    '<ul><li><input checked="" disabled="" type="checkbox"> done</li></ul>'
  ])('keeps %j', html => {
    expect(sanitize(html)).toBe(html);
  });
});
