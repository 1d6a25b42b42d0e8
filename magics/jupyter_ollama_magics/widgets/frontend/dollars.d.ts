/** Return whether a text between double dollars is a formula. */
export function isDisplay(tex: string): boolean;

/** Return whether a text between single dollars is one; `before` and `after` surround it. */
export function isInline(before: string, tex: string, after: string): boolean;
