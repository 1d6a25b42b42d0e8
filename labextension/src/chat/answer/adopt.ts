/** The counter that MathJax gives to each drawing of a formula. */
const COUNTER = 'ctxtmenu_counter';

/**
 * Replace the children of an element by those of a newer rendering, which becomes empty.
 *
 * Children that are equal stay: while an answer grows, its formulas do not flicker, and a selection
 * in the text before lasts.
 */
export function adopt(shown: HTMLElement, fresh: HTMLElement): void {
  for (const formula of fresh.querySelectorAll(`[${COUNTER}]`)) {
    formula.removeAttribute(COUNTER);
  }
  const nodes = [...fresh.childNodes];
  nodes.forEach((node, index) => {
    const old = shown.childNodes[index];
    if (!old) {
      shown.append(node);
    } else if (!old.isEqualNode(node)) {
      old.replaceWith(node);
    }
  });
  while (shown.childNodes.length > nodes.length) {
    shown.lastChild?.remove();
  }
  fresh.replaceChildren();
}
