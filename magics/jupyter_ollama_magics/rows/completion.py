"""Tab completion inside the calls of ``.ollama``: models, and columns in prompts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_CALL = re.compile(
    r"""([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*|\[(?:"[^"\n]*"|'[^'\n]*')\])*)"""
    r"""\.ollama(?:\s*\.at\([^()]*\))?\s*\.(?:[A-Za-z_]\w*)\("""
)
_STEP = re.compile(r"""\.([A-Za-z_]\w*)|\["([^"]*)"\]|\['([^']*)'\]""")
_STRING = re.compile(r"""([A-Za-z]*)(\"\"\"|'''|"|')""")
_MODEL = re.compile(r"""\bmodel\s*=\s*(?:[\[(]\s*(?:(?:"[^"]*"|'[^']*')\s*,\s*)?)?$""")
_FIELD = re.compile(r"(?<!\{)(?:\{\{)*\{([^{}:\"'\n]*)$")
_FRAMES, _SERIES = {"DataFrame"}, {"Series"}

Offers = tuple[str, str, Iterable[str]]


def offers(
    text: str, variables: Callable[[], Mapping[str, Any]], models: Callable[[], list[str]]
) -> Offers | None:
    """Return (beginning, kind, words) of the completions at the end of ``text``, None elsewhere.

    ``text`` is the cell up to the cursor.
    """
    found = None
    for call in _CALL.finditer(text):
        opened = _open_string(text[call.end() :])
        found = (call, opened) if opened else found
    if found is None:
        return None
    call, (before, prefix, typed) = found
    if _MODEL.search(before):
        return typed, "model", models()
    field = _FIELD.search(typed)
    if field is None or "f" in prefix.lower():
        return None
    return field[1], "column", _columns(variables().get(call[1]), call[2])


def _open_string(code: str) -> tuple[str, str, str] | None:
    """Return the code before the last string, its prefix and its text; None unless it is open.

    ``code`` follows the parenthesis of a call. None is also the answer if the call has ended.
    """
    at, depth = 0, 1
    while at < len(code):
        if code[at] in "([{":
            depth += 1
        elif code[at] in ")]}":
            depth -= 1
            if not depth:
                return None
        begin = _STRING.match(code, at)
        if begin is None:
            # The letters of a name are no prefix of a string.
            word = re.compile(r"\w+").match(code, at)
            at = word.end() if word else at + 1
            continue
        end = re.compile(rf"(?:\\.|(?!{begin[2]}).)*", re.S).match(code, begin.end())
        close = end.end() if end else len(code)
        if close >= len(code):
            return code[:at], begin[1], code[begin.end() :]
        at = close + len(begin[2])
    return None


def _columns(data: Any, steps: str) -> list[str]:
    """Return the names for prompts of a DataFrame, or of its column; no code of the user runs."""
    for step in _STEP.finditer(steps):
        name = step[1] or step[2] or step[3]
        if type(data).__name__ not in _FRAMES or name not in list(data.columns):
            return []
        return list(dict.fromkeys(["text", name]))
    if type(data).__name__ in _FRAMES:
        return [name for name in data.columns if isinstance(name, str)]
    if type(data).__name__ in _SERIES:
        name = data.name
        return list(dict.fromkeys(["text", *([name] if isinstance(name, str) and name else [])]))
    return []
