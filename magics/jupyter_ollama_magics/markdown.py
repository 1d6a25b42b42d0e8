"""Make a model's text safe and whole as markdown of a notebook.

A front end runs the scripts in the markdown output of a cell that the user has executed: it counts
as trusted. The text of a model is not the user's, so no tag of it may survive as HTML. And an
answer that stops inside a code block must not swallow what is written below it.

Notebooks know math between dollars only, and would take the text between two prices for math.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_PIECES = re.compile(
    r"(?<![`\\])(?P<ticks>`+)(?!`)(?P<code>[^\n]+?)(?<!`)(?P=ticks)(?!`)"
    r"|(?P<dollars>\$\$.+?\$\$|(?<!\\)\$(?!\d[^$\n]*\s\$)[^$\n`]+\$(?!\d))"
    r"|(?<!\\)\\{1,2}\((?P<inline>(?:(?!\n\s*\n|\\\()[^$])+?)\\{1,2}\)"
    r"|(?<!\\)\\\[(?P<display>(?:(?!\n\s*\n|(?<!\\)\\\[)[^$])+?)\\\]",
    re.S,
)
_PRICE = re.compile(r"(?<![/=&?%+#$\\])\\?\$(?=\d)")


def safe_markdown(text: str) -> str:
    """Return ``text`` with HTML shown as text and every code block closed.

    Code blocks are written anew, at the margin and with a fence that their content does not hold,
    so that no parser can see them end elsewhere than here.
    """
    return "\n".join(_blocks(text.split("\n")))


def code_block(text: str, language: str = "") -> str:
    """Return ``text`` as a code block that ends nowhere else than at its end."""
    return "\n".join(_fenced(text.split("\n"), language))


def folded(title: str, content: str) -> str:
    """Return markdown that shows a title; a click shows the content, which is markdown."""
    return f"<details><summary>{_entities(title)}</summary>\n\n{content}\n\n</details>"


def _blocks(lines: list[str]) -> Iterator[str]:
    prose: list[str] = []
    position = 0
    while position < len(lines):
        opening = _FENCE.match(lines[position])
        position += 1
        if not opening:
            prose.append(lines[position - 1])
            continue
        end = _closing(lines, position, opening["fence"])
        if prose:
            yield _prose("\n".join(prose))
        yield from _code(lines[position:end], opening)
        prose = []
        position = end + 1
    if prose:
        yield _prose("\n".join(prose))


def _closing(lines: list[str], start: int, fence: str) -> int:
    for position in range(start, len(lines)):
        line = lines[position].strip()
        if len(line) >= len(fence) and not line.strip(fence[0]):
            return position
    return len(lines)


def _code(lines: list[str], opening: re.Match[str]) -> Iterator[str]:
    language = re.match(r"\s*([\w+#.-]*)", opening["info"])
    indent = len(opening["indent"])
    yield from _fenced(
        [line[min(indent, len(line) - len(line.lstrip(" \t"))) :] for line in lines],
        language[1] if language else "",
    )


def _fenced(lines: list[str], language: str) -> list[str]:
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + language, *lines, fence]


def _prose(text: str) -> str:
    result, position = [], 0
    for match in _PIECES.finditer(text):
        result.append(_escape(text[position : match.start()]))
        if not match["ticks"]:
            result.append(_math(match))
        elif _TAG.search(match[0]):
            result.append(f"<code>{_entities(match['code'].strip())}</code>")
        else:
            result.append(match[0])
        position = match.end()
    result.append(_escape(text[position:]))
    return "".join(result)


def _math(match: re.Match[str]) -> str:
    if match["inline"]:
        math = f"${' '.join(match['inline'].split())}$"
    elif match["display"]:
        math = f"$${match['display'].strip()}$$"
    else:
        math = match["dollars"]
    # TeX ignores the spaces, and "< x" is no tag.
    return _TAG.sub("< ", math).replace("]:", "] :")


def _escape(text: str) -> str:
    # A link definition may reach over lines, code blocks among them.
    text = _TAG.sub("&lt;", text).replace("]:", "]&#58;")
    # A page gets images unasked, and their address may tell what the conversation is about.
    text = text.replace("![", "[")
    # MathJax looks for pairs of dollars in what is rendered, within one element.
    return _PRICE.sub("<span>&#36;</span>", text)


def _entities(code: str) -> str:
    return re.sub(r"[*_`\[\]\\$|~:]", lambda match: f"&#{ord(match[0])};", html.escape(code))
