// Characters that a page shows as nothing, or that change the order of what is shown: controls but
// for tab and line feed, soft hyphens, zero widths, marks of direction, variation and tag characters.
const HIDDEN =
  // eslint-disable-next-line no-control-regex, no-misleading-character-class
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]/gu;

/** Return a text that shows each character, so that no code is hidden from a person. */
export function visibleText(text: string): string {
  return text.replace(
    HIDDEN,
    found => `⟨U+${(found.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`
  );
}
