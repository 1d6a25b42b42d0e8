const PIECES = /[A-Za-z]+|\n[^\S\n]*|[^\S\n]{2,}|[^\p{L}\p{N}_\s]+|\S/gu;
/** The letters of a word that one token holds, at least. */
const LETTERS = 7;

/**
 * Return about how many tokens a text has: rather too many than too few.
 *
 * `context/tokens.py` of the magics counts in the same way.
 */
export function estimateTokens(text: string): number {
  let tokens = 0;
  for (const [piece] of text.matchAll(PIECES)) {
    tokens += tokensOf(piece);
  }
  return tokens;
}

/** Return the beginning of a text that has at most so many tokens, with a mark if it is cut. */
export function cutTo(text: string, tokens: number, mark = '…'): string {
  if (estimateTokens(text) <= tokens) {
    return text;
  }
  let left = tokens - estimateTokens(mark);
  let end = 0;
  for (const found of text.matchAll(PIECES)) {
    left -= tokensOf(found[0]);
    if (left < 0) {
      break;
    }
    end = found.index + found[0].length;
  }
  return text.slice(0, end) + mark;
}

function tokensOf(piece: string): number {
  if (/^[A-Za-z]/.test(piece)) {
    return 1 + Math.floor((piece.length - 1) / LETTERS);
  }
  // Signs come in pairs such as "()" and "):"; digits and other letters are one each.
  return /^[\s\p{L}\p{N}_]/u.test(piece) ? 1 : Math.ceil(piece.length / 2);
}
