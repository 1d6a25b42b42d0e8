"""Find the dollars of a text that delimit formulas.

Notebooks render the text between any two dollars as TeX, also between prices, shell variables and
names. ``widgets/frontend/dollars.js`` has the same rules.
"""

from __future__ import annotations

import re

DISPLAY = r"(?<!\\)\$\$(?!\$)(?:(?!\n[ \t]*\n)[^$])+?(?<!\\)\$\$(?!\$)"
INLINE = r"(?<!\\)\$(?!\$)(?:\\.|[^$\n`\\])+\$(?!\d)"
DOLLARS = rf"{DISPLAY}|{INLINE}"
"""Matches a possible formula: `is_formula` decides."""

UNTRUSTED = (
    "href|url|class|cssId|style|data|html[A-Za-z]*|includegraphics|bbox|mmlToken|texttip|tooltip|"
    "require|unicode|enclose|action|csname|catcode|def|[gex]def|let|(?:re)?newcommand|"
    "providecommand|(?:re)?newenvironment|Newextarrow|DeclareMathOperator|input|special"
)
"""Commands with effects outside a formula: links, images, styles, and later formulas."""

_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|operatorname\*?|mbox)\s*\{[^{}]*\}")
_TEX = re.compile(r"\\[A-Za-z]|\^|_[{\d\\]|_\w\b|^_")
_RELATION = re.compile(r"[=\\^_{}]")
_WORDS = re.compile(r"(?:^|[\s,;:])[A-Za-z]{2,}[,;:.]?\s+[A-Za-z]{2,}(?=[\s,;:.!?]|$)")
_WORD = re.compile(r"(?:^|\s)[A-Za-z]{2,}(?=[\s,;:.]|$)")
_SHELL_NAME = re.compile(r"[A-Z_][A-Z0-9_]{2,}\W?")
_ENDING = re.compile(r"(?:st|nd|rd|th|ths|s|fold|D)\b")
_LETTERS = re.compile(r"\w")
_COMMAND = re.compile(rf"\\(?:{UNTRUSTED})(?![A-Za-z])")


def is_formula(before: str, dollars: str, after: str) -> bool:
    """Return whether a text between dollars is a formula.

    ``dollars`` includes them; ``before`` and ``after`` are the text around it.
    """
    display = dollars.startswith("$$")
    tex = dollars.strip("$") if display else dollars[1:-1]
    plain = _TEXT.sub("", tex)
    if not tex.strip() or (_WORDS.search(plain) and not _RELATION.search(plain if display else "")):
        return False
    if display:
        return True
    return _is_even(before, tex) and not _is_money_or_name(plain) and _stands(before, tex, after)


def harmless_tex(math: str) -> str | None:
    """Return a formula, with its delimiters, in a form that is harmless as markdown.

    None if its commands have effects outside, or if front ends disagree on its end.
    """
    if _COMMAND.search(math) or not _is_balanced(math):
        return None
    # TeX ignores the spaces, and "< x" is not a tag. Quotation marks are replaced, because the
    # formula may be part of a link's address.
    shown = re.sub(r"<(?=[A-Za-z/!?])", "< ", math)
    shown = re.sub(r"!(?=\[)|\](?=[(:])", lambda match: match[0] + " ", shown).replace(
        '"', "\u201d"
    )
    if not math.startswith("$$"):
        shown = re.sub(r"\\\\(?=[()\[\]])", r"\\\\ ", shown)
    return shown


def _is_balanced(math: str) -> bool:
    """Return whether braces and environments end in a formula, as JupyterLab counts them."""
    depth = 0
    for mark in re.findall(r"\\[{}$]|[{}]", math):
        depth += {"{": 1, "}": -1}.get(mark, 0)
        if depth < 0:
            return False
    open_environments: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([^{}]*)\}", math):
        if kind == "begin":
            open_environments.append(name)
        elif not open_environments or open_environments.pop() != name:
            return False
    return not (depth or open_environments or re.search(r"\\\$*\Z", math))


def _is_even(before: str, tex: str) -> bool:
    """Return whether both dollars touch the text, or neither does."""
    if tex[0].isspace() != tex[-1].isspace() or tex[-1] in ':/"' or tex[0] in "'\",;:)]}":
        return False
    if not tex[0].isspace() or _TEX.search(tex):
        return True
    return not _WORD.search(tex) and not before.rstrip()[-1:].isdigit()  # 10 $ or 20 $


def _is_money_or_name(tex: str) -> bool:
    money = tex.lstrip()[:1].isdigit() and _WORD.search(tex)
    return bool(money or (_SHELL_NAME.fullmatch(tex) and len(tex) > 3))


def _stands(before: str, tex: str, after: str) -> bool:
    """Return whether a formula is a word of its own; one that looks like TeX may be a part."""
    if _TEX.search(tex):
        return True
    begins = not _LETTERS.match(before[-1:])
    ends = not re.match(r"[\w({]", after) or (len(tex) <= 5 and bool(_ENDING.match(after)))
    return begins and ends
