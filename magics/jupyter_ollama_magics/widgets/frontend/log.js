// The conversation: questions and answers, the last of which may be growing.

import { button, copyButton, element } from "./dom.js";
import { showMarkdown } from "./markdown.js";

const NEAR_THE_END = 40; // pixels

/** Return the node of the conversation and a function that shows the state of `model` in it. */
export function createLog(model, send) {
  const node = element("div", { className: "jo-log", label: "Conversation", tabIndex: 0 });
  node.setAttribute("role", "log");
  node.dataset.lmSuppressShortcuts = "true";
  let follows = true;
  node.onscroll = () => {
    follows = node.scrollHeight - node.scrollTop - node.clientHeight < NEAR_THE_END;
  };

  function update() {
    const exchanges = model.get("exchanges");
    const busy = model.get("busy");
    exchanges.forEach((exchange, index) => {
      const last = index === exchanges.length - 1;
      const shown = last && busy ? { ...exchange, ...model.get("answer") } : exchange;
      if (!node.children[index]) node.append(createExchange());
      const actions = last && !busy ? [regenerate(send)] : [];
      node.children[index].show(shown, last && busy, actions);
    });
    while (node.children.length > exchanges.length) node.lastElementChild.remove();
    node.setAttribute("aria-busy", String(busy));
    node.classList.toggle("jo-empty", !exchanges.length);
    if (follows) node.scrollTop = node.scrollHeight;
  }

  const follow = () => {
    follows = true;
    node.scrollTop = node.scrollHeight;
  };
  return { node, update, follow };
}

function regenerate(send) {
  return button("Regenerate", "Answer the last question again", () => send({ do: "regenerate" }));
}

function createExchange() {
  const question = element("div", { className: "jo-question", label: "You" });
  const pictures = element("div", { className: "jo-pictures" });
  const summary = element("summary");
  const thoughts = element("div", { className: "jo-markdown" });
  const thinking = element("details", { className: "jo-thinking" }, summary, thoughts);
  const answer = element("div", { className: "jo-markdown jo-answer", label: "Answer" });
  const waiting = element("div", { className: "jo-waiting", label: "Waiting for the answer" }, "● ● ●");
  const error = element("div", { className: "jo-error" });
  error.setAttribute("role", "alert");
  const note = element("span", { className: "jo-note" });
  const actions = element("span", { className: "jo-actions" });
  const foot = element("div", { className: "jo-foot" }, note, actions);
  const asked = element("div", { className: "jo-asked" }, pictures, question);
  const node = element("section", { className: "jo-exchange" }, asked, thinking, answer, waiting, error, foot);
  let current = {};
  const copy = copyButton("Copy the answer", () => current.text);

  node.show = (exchange, growing, extra) => {
    current = exchange;
    question.textContent = exchange.question;
    question.hidden = !exchange.question;
    if (pictures.children.length !== exchange.thumbnails.length) {
      const images = exchange.thumbnails.map((src) => element("img", { src, alt: "Image" }));
      pictures.replaceChildren(...images);
    }
    thinking.hidden = !exchange.thinking;
    summary.textContent = growing && !exchange.text ? "Thinking…" : "Thinking";
    showMarkdown(thoughts, exchange.thinking);
    showMarkdown(answer, exchange.text);
    waiting.hidden = !growing || Boolean(exchange.text);
    waiting.textContent = exchange.waits || "● ● ●";
    error.textContent = exchange.error;
    error.hidden = !exchange.error;
    note.textContent = exchange.note;
    foot.hidden = growing;
    const buttons = [...(exchange.text ? [copy] : []), ...extra];
    if (buttons.length !== actions.children.length) actions.replaceChildren(...buttons);
  };
  return node;
}
