// Which dollars of a text are around a formula: the rules of ../../formulas.py. Those of prices, of
// shell variables and of names are not. The JupyterLab extension has this file in its bundle, too.

const TEXT =
  /\\(?:text|textbf|textit|mathrm|mathbf|operatorname\*?|mbox)\s*\{[^{}]*\}/g;
const TEX = /\\[A-Za-z]|\^|_[{\d\\]|_\w\b|^_/;
const RELATION = /[=\\^_{}]/;
const WORDS = /(?:^|[\s,;:])[A-Za-z]{2,}[,;:.]?\s+[A-Za-z]{2,}(?=[\s,;:.!?]|$)/;
const WORD = /(?:^|\s)[A-Za-z]{2,}(?=[\s,;:.]|$)/;
const SHELL_NAME = /^[A-Z_][A-Z0-9_]{2,}\W?$/;
const ENDING = /^(?:st|nd|rd|th|ths|s|fold|D)\b/;
const LETTER = /^[\p{L}\p{N}_]/u;

/** Return whether a text between double dollars is a formula. */
export function isDisplay(tex) {
  const plain = tex.replace(TEXT, "");
  return tex.trim() !== "" && (!WORDS.test(plain) || RELATION.test(plain));
}

/** Return whether a text between single dollars is one; `before` and `after` surround it. */
export function isInline(before, tex, after) {
  const plain = tex.replace(TEXT, "");
  if (tex.trim() === "" || WORDS.test(plain)) return false;
  return isEven(before, tex) && !isMoneyOrName(plain) && stands(before, tex, after);
}

/** Return whether both dollars touch the text, or neither does. */
function isEven(before, tex) {
  const spaced = /^\s/.test(tex);
  if (spaced !== /\s$/.test(tex) || /[:/"]$/.test(tex) || /^['",;:)\]}]/.test(tex)) return false;
  return !spaced || TEX.test(tex) || !(WORD.test(tex) || /\d\s*$/.test(before)); // 10 $ or 20 $
}

function isMoneyOrName(tex) {
  return (/^\s*\d/.test(tex) && WORD.test(tex)) || (SHELL_NAME.test(tex) && tex.length > 3);
}

/** Return whether a formula is a word of its own; one that looks like TeX may be a part. */
function stands(before, tex, after) {
  if (TEX.test(tex)) return true;
  const begins = !LETTER.test([...before.slice(-2)].at(-1) ?? "");
  const ends = !(LETTER.test(after) || /^[({]/.test(after));
  return begins && (ends || (tex.length <= 5 && ENDING.test(after)));
}
