// Formulas between dollars, or between \( \) and \[ \]. What draws them is larger than all the rest,
// so the kernel sends it when the first formula appears. Until then, and where the TeX is not
// understood, the TeX itself is shown.

import DOMPurify from "dompurify";

import { element } from "./dom.js";

const ALLOWED = {
  USE_PROFILES: { mathMl: true },
  ADD_ATTR: ["class", "style"],
  RETURN_DOM_FRAGMENT: true,
};
const DISPLAY = /\$\$(?<display>[^$]+?)\$\$/;
const PRICES = /(?!\d[^$\n]*\s\$)/; // the text between two of them is no formula
const DOLLARS = new RegExp(String.raw`\$${PRICES.source}(?<inline>[^$\n\x60]+)\$(?!\d)`);
const ROUND = /\\\((?<round>(?:(?!\n\s*\n|\\\()[^$])+?)\\\)/;
const SQUARE = /\\\[(?<square>(?:(?!\n\s*\n|\\\[)[^$])+?)\\\]/;
const anyOf = (...patterns) => `(?:${patterns.map(({ source }) => source).join("|")})`;
const INLINE = new RegExp(`^${anyOf(DISPLAY, DOLLARS, ROUND, SQUARE)}`);
const BLOCK = new RegExp(`^ {0,3}${anyOf(DISPLAY, SQUARE)}[ \\t]*(?:\\n+|$)`);

let library; // what math.js exports, once it is here
let waiting = [];
let ask = () => {};

/** Return extensions of marked; `escaped` makes a text fit for HTML. */
export function formulas(escaped) {
  const tokenizer = (pattern) => (source) => {
    const found = pattern.exec(source);
    if (!found) return undefined;
    const { display, inline, round, square } = found.groups;
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

/** Take what draws formulas from the kernel of `model`; return what ends that. */
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

/** Draw the formula in the place of its TeX, as soon as that can be done. */
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
