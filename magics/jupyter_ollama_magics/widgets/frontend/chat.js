// The page's side of the chat widget. The kernel's side holds the state: this shows it and sends
// messages, never state, so that only one side ever changes it.

import { createComposer } from "./composer.js";
import { button, element } from "./dom.js";
import { connectFormulas } from "./formulas.js";
import { createLog } from "./log.js";

const GONE_AFTER = 2000; // milliseconds; a moved cell is removed and added again

const views = new Map();

function render({ model, el }) {
  const send = (content, buffers) => model.send(content, undefined, buffers);
  const status = element("div", { className: "jo-status" });
  status.setAttribute("role", "status");
  const notify = (text) => {
    status.textContent = text;
    status.hidden = !text;
  };
  const log = createLog(model, (content) => (log.follow(), send(content)));
  const composer = createComposer(model, (...message) => (log.follow(), send(...message)), notify);
  const picker = createPicker(model, send);
  const clear = button("New chat", "Start a new conversation", () => send({ do: "clear" }));
  const head = element("div", { className: "jo-head" }, picker.node, clear);
  const style = element("style", { textContent: model.get("style_text") });
  const node = element(
    "div",
    { className: "jupyter-ollama-chat", label: "Chat with a model" },
    style,
    head,
    log.node,
    status,
    composer.node,
  );
  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && model.get("busy")) composer.stop();
    // Keys typed here are not shortcuts of the notebook, except with Ctrl, such as saving.
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
  takeDrops(node, composer);

  const update = () => {
    log.update();
    composer.update();
    clear.disabled = model.get("busy") || !model.get("exchanges").length;
  };
  const problem = () => notify(model.get("problem"));
  const changes = {
    "change:exchanges": update,
    "change:answer": update,
    "change:busy": update,
    "change:model": () => (picker.update(), composer.update()),
    "change:models": () => (picker.update(), composer.update()),
    "change:problem": problem,
  };
  for (const [name, react] of Object.entries(changes)) model.on(name, react);
  const disconnect = connectFormulas(model);
  picker.update();
  problem();
  el.append(node);
  update();
  send({ do: "models" });

  const key = model.get("style_text");
  views.set(key, (views.get(key) ?? 0) + 1);
  return () => {
    disconnect();
    for (const [name, react] of Object.entries(changes)) model.off(name, react);
    views.set(key, views.get(key) - 1);
    setTimeout(() => {
      if (!views.get(key) && model.get("busy")) send({ do: "stop" });
    }, GONE_AFTER);
  };
}

function createPicker(model, send) {
  const node = element("select", { label: "Model" });
  node.onchange = () => send({ do: "model", name: node.value });
  node.onfocus = () => send({ do: "models" });
  function update() {
    const names = model.get("models").map(({ name }) => name);
    const chosen = model.get("model");
    if (!names.includes(chosen)) names.unshift(chosen);
    const shown = [...node.options].map(({ value }) => value);
    if (shown.join("\n") !== names.join("\n")) {
      const options = names.map((name) => new Option(name || "Choose a model", name));
      node.replaceChildren(...options);
    }
    node.value = chosen;
  }
  return { node, update };
}

function takeDrops(node, composer) {
  const over = (event, is) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    node.classList.toggle("jo-over", is);
  };
  node.addEventListener("dragenter", (event) => over(event, true));
  node.addEventListener("dragover", (event) => over(event, true));
  node.addEventListener("dragleave", (event) => over(event, node.contains(event.relatedTarget)));
  node.addEventListener("drop", (event) => {
    over(event, false);
    composer.add(event.dataTransfer.files);
  });
}

export default { render };
