// Where a question is written: text, images, and the button that sends or stops.

import { button, element } from "./dom.js";
import { picture } from "./images.js";

/** Return the node of the input and a function that shows the state of `model` in it. */
export function createComposer(model, send, notify) {
  const pictures = element("div", { className: "jo-pictures" });
  const text = element("textarea", {
    rows: 1,
    placeholder: "Ask something",
    label: "Your question. Enter sends, Shift and Enter begins a new line, Escape stops.",
  });
  const file = element("input", { type: "file", accept: "image/*", multiple: true, hidden: true });
  const attach = button("Image", "Add an image", () => file.click());
  const act = button("Send", "Send the question", () => (model.get("busy") ? stop() : ask()));
  act.classList.add("jo-send");
  const row = element("div", { className: "jo-row" }, attach, file, text, act);
  const node = element("div", { className: "jo-composer" }, pictures, row);
  let images = [];

  const stop = () => send({ do: "stop" });
  const sees = () => {
    const chosen = model.get("models").find(({ name }) => name === model.get("model"));
    return Boolean(chosen?.sees);
  };

  function ask() {
    if (!text.value.trim() && !images.length) return;
    const thumbnails = images.map(({ thumbnail }) => thumbnail);
    send({ do: "ask", text: text.value, thumbnails }, images.map(({ bytes }) => bytes));
    text.value = "";
    images = [];
    showImages();
    grow();
  }

  async function add(files) {
    const found = [...files].filter(({ type }) => type.startsWith("image/"));
    if (!found.length) return;
    if (!sees()) {
      notify(`${model.get("model") || "This model"} does not see images.`);
      return;
    }
    try {
      images.push(...(await Promise.all(found.map(picture))));
      notify("");
    } catch {
      notify("This file is no image that the browser knows.");
    }
    showImages();
  }

  function showImages() {
    const shown = images.map((image) => {
      const remove = button("×", "Remove the image", () => {
        images = images.filter((other) => other !== image);
        showImages();
      });
      const small = element("img", { src: image.thumbnail, alt: "Image to send" });
      return element("span", { className: "jo-picture" }, small, remove);
    });
    pictures.replaceChildren(...shown);
  }

  function grow() {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
  }

  text.oninput = grow;
  text.onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!model.get("busy")) ask();
  };
  text.onpaste = (event) => void add(event.clipboardData.files);
  file.onchange = async () => {
    await add(file.files);
    file.value = "";
  };

  function update() {
    const busy = model.get("busy");
    act.textContent = busy ? "Stop" : "Send";
    act.title = busy ? "Stop the answer" : "Send the question";
    act.setAttribute("aria-label", act.title);
    attach.hidden = !sees();
  }

  return { node, update, add, stop };
}
