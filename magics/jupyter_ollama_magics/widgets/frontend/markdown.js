// Markdown of a model as DOM nodes. What a model writes is nobody's HTML: its tags are shown as
// text, its images are links, and only a short list of elements and addresses gets through.

import DOMPurify from "dompurify";
import { Marked } from "marked";

import { colour } from "./code.js";
import { element, copyButton } from "./dom.js";
import { formulas, showFormula } from "./formulas.js";

const TAGS = (
  "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr input li ol p pre strong " +
  "table tbody td th thead tr ul"
).split(" ");
const ALLOWED = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["align", "checked", "class", "disabled", "href", "start", "type"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false, // JupyterLab acts on some
  RETURN_DOM_FRAGMENT: true,
};

const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text) => text.replace(/[&<>"]/g, (character) => escapes[character]);

const marked = new Marked({
  extensions: formulas(escaped),
  renderer: {
    html: ({ text }) => escaped(text),
    // Loading an image would leak the conversation to its host.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
  },
});

/** Show markdown in `container`. Unchanged blocks are kept, with the selection in them. */
export function showMarkdown(container, text) {
  const tokens = marked.lexer(text).filter((token) => token.type !== "space");
  tokens.forEach((token, index) => {
    const old = container.children[index];
    if (old?.markdown === token.raw) return;
    const block = element("div", { className: "jo-block", markdown: token.raw });
    block.append(DOMPurify.sanitize(marked.parser([token]), ALLOWED));
    finish(block);
    if (old) old.replaceWith(block);
    else container.append(block);
  });
  while (container.children.length > tokens.length) container.lastElementChild.remove();
}

function finish(block) {
  for (const link of block.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const box of block.querySelectorAll("input")) box.disabled = true;
  for (const tex of block.querySelectorAll("code.jo-tex")) showFormula(tex);
  for (const code of block.querySelectorAll("pre")) {
    colour(code.firstElementChild);
    const frame = element("div", { className: "jo-code" });
    code.replaceWith(frame);
    frame.append(code, copyButton("Copy code", () => code.textContent));
  }
}
