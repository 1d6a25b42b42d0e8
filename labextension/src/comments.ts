/** The languages whose comments do not start with "#". */
const COMMENTS: Readonly<Record<string, string>> = {
  '//': 'c c++ csharp dart go java javascript kotlin rust scala swift typescript',
  '--': 'haskell lua sql',
  '%': 'erlang matlab octave stex',
  ';': 'clojure common-lisp scheme'
};

/** Return the sign that begins a comment in a language. */
export function commentOf(language: string): string {
  const found = Object.entries(COMMENTS).find(([, names]) => names.split(' ').includes(language));
  return found?.[0] ?? '#';
}
