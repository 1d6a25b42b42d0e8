// Formulas between dollars, or between \( \) and \[ \]. What draws them is larger than all the rest,
// so the kernel sends it when the first formula appears. Until then, and where the TeX is not
// understood, the TeX itself is shown.

import DOMPurify from "dompurify";

import { isDisplay, isInline } from "./dollars.js";
import { element } from "./dom.js";

const ALLOWED = {
  USE_PROFILES: { mathMl: true },
  ADD_ATTR: ["class", "style"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  FORBID_ATTR: ["href", "src"],
  RETURN_DOM_FRAGMENT: true,
};
const DISPLAY = /\$\$(?!\$)(?<display>(?:(?!\n[ \t]*\n)[^$])+?)\$\$(?!\$)/;
const DOLLARS = /\$(?!\$)(?<inline>(?:\\.|[^$\n\x60\\])+)\$(?!\d)/;
const ROUND = /\\\((?<round>(?:(?!\n\s*\n|\\\()[^$])+?)\\\)/;
const SQUARE = /\\\[(?<square>(?:(?!\n\s*\n|\\\[)[^$])+?)\\\]/;
const anyOf = (...patterns) => `(?:${patterns.map(({ source }) => source).join("|")})`;
const INLINE = new RegExp(`^${anyOf(DISPLAY, DOLLARS, ROUND, SQUARE)}`);
const BLOCK = new RegExp(`^ {0,3}${anyOf(DISPLAY, SQUARE)}[ \\t]*(?:\\n+|$)`);

let library; // the exports of math.js, once it is loaded
let waiting = [];
let ask = () => {};

/** Return extensions of marked; `escaped` escapes a text for HTML. */
export function formulas(escaped) {
  const tokenizer = (pattern) => (source, tokens) => {
    const found = pattern.exec(source);
    if (!found) return undefined;
    const { display, inline, round, square } = found.groups;
    const before = tokens?.at(-1)?.raw ?? "";
    if (display !== undefined && !isDisplay(display)) return undefined;
    if (inline !== undefined && !isInline(before, inline, source.slice(found[0].length)))
      return undefined;
    const tex = (display ?? inline ?? round ?? square).trim();
    return { type: "formula", raw: found[0], tex, apart: (display ?? square) !== undefined };
  };
  const renderer = ({ tex, apart }) =>
    `<code class="jo-tex${apart ? " jo-apart" : ""}">${escaped(tex)}</code>`;
  return [
    {
      name: "formula",
      level: "block",
      start: (source) => /^ {0,3}(?:\$\$|\\\[)/m.exec(source)?.index,
      tokenizer: tokenizer(BLOCK),
      renderer,
    },
    {
      name: "formula",
      level: "inline",
      start: (source) => /\$|\\[([]/.exec(source)?.index,
      tokenizer: tokenizer(INLINE),
      renderer,
    },
  ];
}

/** Load math.js from the kernel of `model`; return a function that ends the request. */
export function connectFormulas(model) {
  ask = () => model.send({ do: "math" });
  const take = async ({ math }) => {
    if (!math || library) return;
    const url = URL.createObjectURL(new Blob([math], { type: "text/javascript" }));
    library = await import(url);
    URL.revokeObjectURL(url);
    document.head.append(element("style", { textContent: library.style }));
    for (const node of waiting) if (node.isConnected) draw(node);
    waiting = [];
  };
  model.on("msg:custom", take);
  if (waiting.length) ask();
  return () => model.off("msg:custom", take);
}

/** Draw the formula in the place of its TeX, once math.js is loaded. */
export function showFormula(node) {
  if (library) draw(node);
  else if (waiting.push(node) === 1) ask();
}

function draw(node) {
  const apart = node.classList.contains("jo-apart");
  const tex = node.textContent;
  let math;
  try {
    math = library.mathml(tex, apart);
  } catch {
    return;
  }
  const formula = element(apart ? "div" : "span", { className: "jo-formula", title: tex });
  formula.append(DOMPurify.sanitize(math, ALLOWED));
  node.replaceWith(formula);
}
