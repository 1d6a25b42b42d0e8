"""Convert the text of a model to markdown that is safe in a notebook.

A front end trusts the markdown output of a cell that the user has executed, and runs its scripts.
The text of a model is not the user's, so its tags must not become HTML, and its images, whose host
would learn of the conversation, must not load. A code block that is not closed must not include the
text below it.

Notebooks render only math between dollars, and would render the text between two prices as math.
The modules in ``labextension/src/chat/answer`` follow the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from . import markdown_escape

_FENCE = re.compile(
    r"(?P<indent>[ \t]*)(?:(?P<ticks>`{3,})(?P<info>[^`]*)|(?P<tildes>~{3,})(?P<about>.*))$"
)
_BREAKS = re.compile(r"\r\n?|[\n\v\f\x1c-\x1e\x85\u2028\u2029]")
"""Ends a line in some parser."""
_BEGINS_FORMULA = re.compile(r"\\begin\{|\\\\[(\[]", re.I)
"""Opens a formula in JupyterLab, also within code."""
_ITEM = re.compile(r" *(?:[-*+]|\d{1,9}[.)]) +")
_REACHES_OUT = re.compile(
    r"<(?!br *\/?>)(?=[A-Za-z/!?])"  # a tag
    r"|&[#\w]|#\w+;"  # entities, of HTML and of Mermaid
    r"|://|url|\bimg\b|!\["
    r"|@\{|@import|%%\{|`|\$\$|\\(?!n)"  # shapes, settings, markdown, formulas, escapes of CSS
    r"|\$(?:sprite|link)"
    r"|^\s*(?:click|links?|call|href|config|---\s*$)",
    re.I | re.M,
)
"""Matches the source of a Mermaid diagram that front ends must not draw.

Mermaid makes HTML of labels, fetches the images that a diagram names and lets it set links and
styles. Exported notebooks hold the source of a diagram as HTML.
"""
_LOOK_BACK = 200
"""Lines before a code block that are searched for its list item."""


@dataclass
class _Code:
    lines: list[str]
    language: str
    indent: str = ""


def safe_markdown(text: str) -> str:
    """Return ``text`` with HTML shown as text and every code block closed.

    Code blocks are rewritten at the margin, with a fence that their content does not contain, so
    that all parsers agree on their end.
    """
    blocks = list(_blocks(_BREAKS.sub("\n", text.replace("\0", "\ufffd")).split("\n")))
    quoted = '"' in text
    parts = [
        markdown_escape.pieces(block, quoted) if isinstance(block, str) else block
        for block in blocks
    ]
    texts = [part for block in parts if not isinstance(block, _Code) for part in block]
    every_dollar = markdown_escape.has_lone_dollars(texts)
    result: list[str] = []
    for number, block in enumerate(parts, 1):
        if isinstance(block, _Code):
            result += (block.indent + line for line in _fenced(block.lines, block.language))
            if number < len(parts) and any(map(_BEGINS_FORMULA.search, block.lines)):
                result.append("")  # a blank line, which ends formulas
        else:
            result.append(markdown_escape.joined(block, every_dollar, quoted))
    return "\n".join(result)


def code_block(text: str, language: str = "") -> str:
    """Return ``text`` as a code block that no line of it can close."""
    return "\n".join(_fenced(_BREAKS.sub("\n", text).split("\n"), language))


def folded(title: str, content: str) -> str:
    """Return markdown that shows a title; a click shows the content, which is markdown."""
    return (
        f"<details><summary>{markdown_escape.entities(title)}</summary>\n\n{content}\n\n</details>"
    )


def _blocks(lines: list[str]) -> Iterator[str | _Code]:
    text: list[str] = []
    position = 0
    while position < len(lines):
        opening = _FENCE.match(lines[position])
        position += 1
        if not opening:
            text.append(lines[position - 1])
            continue
        end = _closing(lines, position, opening["ticks"] or opening["tildes"])
        if text:
            yield "\n".join(text)
        yield _code(lines, position, end, opening)
        text = []
        position = end + 1
    if text:
        yield "\n".join(text)


def _closing(lines: list[str], start: int, fence: str) -> int:
    for position in range(start, len(lines)):
        line = lines[position].strip()
        if len(line) >= len(fence) and not line.strip(fence[0]):
            return position
    return len(lines)


def _code(lines: list[str], start: int, end: int, opening: re.Match[str]) -> _Code:
    language = re.match(r"\s*([\w+#.-]*)", opening["info"] or opening["about"] or "")
    indent = len(opening["indent"])
    code = [line[min(indent, len(line) - len(line.lstrip(" \t"))) :] for line in lines[start:end]]
    name = language[1] if language else ""
    if name.lower().startswith("mermaid") and not _is_plain_diagram("\n".join(code)):
        name = ""
    # Code may stay inside a list item only if every parser sees plain text in it.
    stays = _is_in_item(lines[max(0, start - _LOOK_BACK) : start - 1], opening["indent"])
    if stays and not any(map(markdown_escape.is_active, code)):
        return _Code(code, name, opening["indent"])
    return _Code(code, name)


def _is_in_item(before: list[str], indent: str) -> bool:
    """Return whether a line with an indent belongs to the last list item before it."""
    if not indent or "\t" in indent:
        return False
    for line in reversed(before):
        if line.strip() and not line.startswith(indent):
            item = _ITEM.match(line)
            return item is not None and item.end() <= len(indent) < item.end() + 4
    return False


def _fenced(lines: list[str], language: str) -> list[str]:
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + language, *lines, fence]


def _is_plain_diagram(source: str) -> bool:
    """Return whether a Mermaid diagram has no HTML, addresses or settings."""
    return _REACHES_OUT.search(source) is None
