"""The formats of ``--format``: instructions, display, and extraction of code and JSON."""

from __future__ import annotations

import ast
import html
import json
import re

from .failures import OllamaMagicsError
from .markdown import code_block, safe_markdown

INSTRUCTIONS = {
    "code": "Answer with one block of Python code and nothing else.",
    "json": "Answer with JSON and nothing else.",
    "html": "Answer with one block of HTML and nothing else.",
    "math": "Answer with a formula in LaTeX and nothing else.",
    "md": "Answer in markdown.",
    "text": "Answer in plain text, without markdown.",
}
"""The text that is added to the prompt, for each format."""

_BLOCK = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+.-]*)[^\n]*\n", re.M)
_PYTHON = ("", "py", "python", "python3", "ipython")
_CONTENT_SECURITY_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)
_CONNECTING_ELEMENTS = re.compile(
    r"<(/?)(?=(?:i?frame|frameset|object|embed|portal|fencedframe|link)\b)", re.I
)
"""Elements for which a browser opens a connection before it checks the policy."""
_FRAME = (
    '<iframe sandbox="" srcdoc="{}" style="width:100%;height:24em;border:1px solid #8884"></iframe>'
)


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the code blocks of a markdown text: (language, code). The last may be open."""
    result, position = [], 0
    while opening := _BLOCK.search(text, position):
        fence = re.escape(opening["fence"])
        closing = re.compile(rf"^[ \t]*{fence}[ \t]*$", re.M).search(text, opening.end())
        end = closing.start() if closing else len(text)
        result.append((opening["language"].lower(), text[opening.end() : end].rstrip("\n")))
        position = closing.end() if closing else len(text)
    return result


def python_code(text: str) -> str:
    """Return the Python code in an answer, "" if there is none."""
    found = blocks(text)
    if python := [code for language, code in found if language in _PYTHON]:
        return "\n\n".join(python)
    if found:
        return found[0][1]
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        compile(text.strip(), "<answer>", "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return ""
    return text.strip()


def body(text: str) -> str:
    """Return an answer without the fence of the only block in it."""
    found = blocks(text)
    return found[0][1] if len(found) == 1 else text.strip()


def json_value(text: str, done_reason: str) -> object:
    """Return the JSON value of an answer. Raises OllamaMagicsError."""
    for candidate in (text, body(text)):
        try:
            value: object = json.loads(candidate)
            return value
        except ValueError:
            continue
    reasons = {"length": "it was cut at the limit of tokens", "interrupted": "it was interrupted"}
    reason = reasons.get(done_reason, f"it starts with {text.strip()[:40]!r}")
    raise OllamaMagicsError(f"The answer is not JSON: {reason}.")


def markdown(text: str, kind: str) -> str:
    """Return an answer in the format ``kind`` as markdown that is safe to show."""
    if kind == "json" and text:
        return code_block(_pretty(text), "json")
    if kind == "html" and text:
        return code_block(body(text), "html")
    if kind == "math" and text and not re.search(r"\$|\\[(\[]", text):
        return safe_markdown(f"$${body(text)}$$")
    return safe_markdown(text)


def frame(text: str) -> str:
    """Return an answer as HTML inside a frame that runs no script and loads nothing."""
    page = _CONNECTING_ELEMENTS.sub(r"<\1x-", body(text))
    return _FRAME.format(html.escape(_CONTENT_SECURITY_POLICY + page))


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
