"""Escape the text of an answer outside its code blocks.

Front ends disagree on the bounds of formulas, code spans and links, and some parse formulas before
code. So nothing here relies on one parser: characters that could open an image, a tag, a link of
another scheme or a formula that ends in a code block are escaped everywhere. Formulas, code spans
and links to web pages are kept in a form that is harmless if it is parsed as something else.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from .formulas import DOLLARS, UNTRUSTED, harmless_tex, is_formula

_PIECES = re.compile(
    r"(?<![`\\])(?P<ticks>`+)(?!`)(?P<code>[^\n]+?)(?<!`)(?P=ticks)(?!`)"
    rf"|(?P<dollars>{DOLLARS})"
    r"|(?<!\\)\\{1,2}\((?P<inline>(?:(?!\n\s*\n|\\\()[^$])+?)\\{1,2}\)"
    r"|(?<!\\)\\\[(?P<display>(?:(?!\n\s*\n|(?<!\\)\\\[)[^$])+?)\\\]"
    r"|(?<!\\)(?P<environment>\\begin\{(?P<name>[A-Za-z]*\*?)\}"
    r"(?:[^$\n]|\n(?!\s*\n)){0,2000}?\\end\{(?P=name)\})",
    re.S,
)
_IMAGE = re.compile(r"(?P<slash>\\?)(?P<marks>!+)\[")
_TAG = re.compile(r"(?<!\\)(?P<slashes>\\*)<(?=[A-Za-z/!?])")
_LINK = re.compile(r"\]\((?!\s*(?:https?://|mailto:))", re.I)
_BRACKET = re.compile(r"(?<!\\)(?P<slashes>\\{2,})(?P<bracket>[()\[\]])")
_COMMAND = re.compile(rf"(?<!\\)(?P<slashes>\\+)(?=(?:begin|end)\{{|(?:{UNTRUSTED})(?![A-Za-z]))")
_DEFINITION = re.compile(r"(?P<before>\n[ \t>]*):(?=[ \t])")
"""Makes a definition list of the line before it and the text up to a blank line."""
_RUN = re.compile(r"(?P<before>\n[ \t]*)(?P<mark>[`~])(?=(?P=mark){2})")
"""May open a code block once a formula is cut out of its line."""
_ENTITY = re.compile(r"&(?:#0*36|#x0*24|dollar|(?P<slash>#0*92|#x0*5c|bsol));", re.I)
_FOREIGN_SCHEME = re.compile(r"\bftp(?=://)", re.I)
_DOLLAR = re.compile(
    r"(?P<address>\]\([^)\n]{0,2000}\)|\w://\S*)|(?<!\\)(?P<slashes>\\*)\$(?P<price>(?=\d))?"
)
"""A dollar, or an address, in which dollars stay. One before a digit is a price."""

_SPANNING = re.compile(r"\$\$|\\(?:begin|end)\{|\\\\[()\[\]]")
"""Opens or closes a formula in a front end that does not see the code span around it."""
_ACTIVE = re.compile(rf"{_TAG.pattern}|{_SPANNING.pattern}|!\[|{_LINK.pattern}|\]:", re.I)
_PLAIN = re.compile(r"(?:\]\([^\s()`]*\)|[^`|$<\\\"'()])*(?<!\S)")
"""A beginning of a paragraph after which every front end sees a code span."""

_AT_TOP = re.compile(r"(?:\A|\n[ \t]*\n)\Z")


@dataclass
class MarkdownPart:
    """A part of a text: a formula, a code span (both are ``kept``), or other text."""

    text: str
    kept: bool = False

    @property
    def is_formula(self) -> bool:
        """Whether front ends see a formula between dollars."""
        return self.kept and self.text.startswith("$")


def pieces(text: str, quoted: bool) -> list[MarkdownPart]:
    """Split a text; ``quoted`` is whether the answer has a quotation mark anywhere."""
    result: list[MarkdownPart] = []
    position = begin = 0
    while match := _PIECES.search(text, position):
        start, position = match.span()
        if match["dollars"] and not is_formula(text[:start], match[0], text[position:]):
            # Its second dollar may be the first of a formula.
            position = start + len(match[0]) - len(match[0].lstrip("$"))
            continue
        if begin < start:
            result.append(MarkdownPart(text[begin:start]))
        shown = _code_span(match, quoted) if match["ticks"] else _formula(match)
        if shown.startswith("$") and result and result[-1].is_formula:
            result.append(MarkdownPart(" "))  # two formulas side by side have "$$" between them
        result.append(MarkdownPart(shown, kept=True))
        begin = position
    result.append(MarkdownPart(text[begin:]))
    return result


def has_lone_dollars(parts: list[MarkdownPart]) -> bool:
    """Return whether dollars outside formulas could delimit one, so that all are escaped.

    A single dollar is kept if no other one follows.
    """
    count = 0
    for part in parts:
        if part.is_formula and count:
            return True
        if not part.kept:
            count += sum(match["address"] is None for match in _DOLLAR.finditer(part.text))
    return count > 1


def joined(parts: list[MarkdownPart], every_dollar: bool, quoted: bool) -> str:
    """Join the pieces of a text, and escape those that are not kept."""
    result = ""
    for part in parts:
        shown = part.text
        if not part.kept:
            begins = "\n" if not result or result.endswith("\n") else ""
            shown = _escaped(begins + shown, every_dollar, quoted).removeprefix(begins)
        if result.endswith("$") and shown.startswith("$"):
            shown = f"<span></span>{shown}"
        result += shown
    return result


def is_active(code: str) -> bool:
    """Return whether code would be more than text in a parser that misses its delimiters."""
    return "$" in code or _ACTIVE.search(code) is not None


def entities(code: str) -> str:
    """Return ``code`` in a form without markdown for any parser."""
    return re.sub(r"[*_`\[\]\\$|~:]", lambda match: f"&#{ord(match[0])};", html.escape(code))


def _code(text: str) -> str:
    return f"<code>{entities(' '.join(text.split()))}</code>"


def _code_span(match: re.Match[str], quoted: bool) -> str:
    code = match["code"]
    if (quoted and "$" in code) or len(match["ticks"]) > 2:
        return _code(code)
    if not _ACTIVE.search(code):
        return match[0]
    before = match.string[: match.start()].rpartition("\n\n")[2]
    acts = _TAG.search(code) or _SPANNING.search(code) or "|" in code
    return match[0] if not acts and _PLAIN.fullmatch(before) else _code(code)


def _formula(match: re.Match[str]) -> str:
    """Return a formula; one with commands that have effects outside is shown as code."""
    if match["inline"]:
        math = f"${' '.join(match['inline'].split())}$"
    elif match["display"]:
        math = f"$${match['display'].strip()}$$"
    else:
        math = match["dollars"] or match["environment"]
    harmless = harmless_tex(math)
    if harmless is None:
        return _code(match[0])
    if "\n" not in harmless:
        return harmless
    before = match.string[: match.start()]
    return harmless if _AT_TOP.search(before) else _in_one_line(before, harmless)


def _in_one_line(before: str, math: str) -> str:
    """Return a formula whose lines cannot belong to different blocks."""
    quotes = before.rpartition("\n")[2].lstrip().startswith(">")
    mark = re.compile(r"[ \t]*(?:>[ \t]*)*" if quotes else r"[ \t]*")
    first, *others = math.split("\n")
    lines = [first, *(mark.sub("", line, count=1) for line in others)]
    bare = (re.sub(r"(?<!\\)%.*", "", line).rstrip() for line in lines)
    return " ".join(filter(None, bare))


def _escaped(text: str, every_dollar: bool, quoted: bool) -> str:
    text = _TAG.sub(lambda match: _even(match["slashes"]) + "&lt;", text)
    # A page loads images at once, and their address may leak the conversation.
    text = _IMAGE.sub(_without_mark, text)
    # A link definition may span lines, code blocks among them.
    text = _LINK.sub("]&#40;", text.replace("]:", "]&#58;"))
    text = _RUN.sub(lambda match: f"{match['before']}&#{ord(match['mark'])};", text)
    text = _DEFINITION.sub(r"\g<before>&#58;", text)
    text = _FOREIGN_SCHEME.sub(lambda match: match[0] + "<span></span>", text)
    text = _BRACKET.sub(lambda match: f"{_even(match['slashes'])}&#{ord(match['bracket'])};", text)
    text = _ENTITY.sub(
        lambda match: f"<span>&#{92 if match['slash'] else 36};</span>",
        text,
    )
    text = _COMMAND.sub(
        lambda match: _even(match["slashes"][:-1]) + "<span>&#92;</span>",
        text,
    )

    # MathJax pairs dollars in the rendered page, within one element.
    def dollar(match: re.Match[str]) -> str:
        if address := match["address"]:
            if not quoted and "$$" not in address:
                return address
            return address.replace("$", "&#36;" if address.startswith("]") else "%24")
        if not (every_dollar or quoted or match["price"] is not None):
            return match[0]
        return _even(match["slashes"]) + "<span>&#36;</span>"

    return _DOLLAR.sub(dollar, text)


def _even(slashes: str) -> str:
    """Return backslashes without the one that escapes what follows them."""
    return slashes[: len(slashes) // 2 * 2]


def _without_mark(match: re.Match[str]) -> str:
    if match["slash"]:
        return f"{match['slash']}{match['marks']}<span></span>["
    return "&#33;" * (len(match["marks"]) - 1) + "["
