// Elements, and the buttons that all parts of the widget share.

const PRESSED = ["button", "select", "summary"];

/** Return a new element with properties (`label` is for screen readers) and children. */
export function element(tag, { label, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  if (label) node.setAttribute("aria-label", label);
  if (label && tag === "div") node.setAttribute("role", "group");
  // JupyterLab treats keys outside text fields as shortcuts: Enter would select a cell.
  if (PRESSED.includes(tag)) node.dataset.lmSuppressShortcuts = "true";
  node.append(...children);
  return node;
}

/** Return a button. */
export function button(text, label, onclick, className = "") {
  return element("button", { type: "button", className, label, title: label, onclick }, text);
}

/** Return a button that copies the result of `text`. */
export function copyButton(label, text) {
  const copy = button("Copy", label, async () => {
    copy.textContent = (await copied(text())) ? "Copied" : "Not copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  }, "jo-copy");
  return copy;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedBySelection(text);
  }
}

// Pages that are not served by HTTPS have no clipboard of their own.
function copiedBySelection(text) {
  const area = element("textarea", { value: text });
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
