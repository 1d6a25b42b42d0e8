// TeX as MathML, which browsers draw by themselves. A bundle of its own: see formulas.js.

import css from "temml/dist/Temml-Local.css";
import temml from "temml/temml.js";

/** Return MathML. Throws for invalid TeX. */
export function mathml(tex, displayMode) {
  return temml.renderToString(tex, { displayMode, throwOnError: true, trust: false });
}

// The only font of its own is for script letters, which the fonts of systems have as well.
export const style = `.jupyter-ollama-chat {${css.replace(/@font-face\s*\{[^}]*\}/g, "")}}`;
