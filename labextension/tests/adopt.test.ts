// @vitest-environment jsdom
import { expect, it } from 'vitest';

import { adopt } from '../src/chat/answer/adopt';

function element(html: string): HTMLElement {
  const made = document.createElement('div');
  made.innerHTML = html;
  return made;
}

it('keeps the blocks that are equal and replaces the others', () => {
  const shown = element('<p>One</p><p>Tw</p>');
  const [first, second] = shown.children;
  adopt(shown, element('<p>One</p><p>Two</p><pre>x</pre>'));
  expect(shown.innerHTML).toBe('<p>One</p><p>Two</p><pre>x</pre>');
  expect(shown.children[0]).toBe(first);
  expect(shown.children[1]).not.toBe(second);
});

it('removes what the newer rendering lacks, and empties it', () => {
  const shown = element('<p>One</p><p>Two</p>');
  const fresh = element('<p>One</p>');
  adopt(shown, fresh);
  expect([shown.innerHTML, fresh.innerHTML]).toEqual(['<p>One</p>', '']);
});

it('keeps a formula that MathJax has drawn again', () => {
  const shown = element('');
  adopt(shown, element('<p><mjx-container ctxtmenu_counter="1">x</mjx-container></p>'));
  const [formula] = shown.children;
  adopt(shown, element('<p><mjx-container ctxtmenu_counter="2">x</mjx-container></p><p>y</p>'));
  expect(shown.children[0]).toBe(formula);
});
