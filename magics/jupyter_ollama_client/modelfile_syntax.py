"""The statements of a Modelfile."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

_COMMANDS = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
_ROLES = ("system", "user", "assistant")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")
_WORD = re.compile(r"[A-Za-z]*")
_KEY = re.compile(r"[A-Za-z0-9_]*")
_LINE = re.compile(r"[^\r\n]*")


class InvalidModelfile(ValueError):
    """A Modelfile with a fault; the text describes it and has the number of its line."""


class Command(NamedTuple):
    """One statement. ``key`` is the name of a PARAMETER or the role of a MESSAGE."""

    keyword: str
    argument: str
    key: str = ""

    def __str__(self) -> str:
        words = [self.keyword.upper(), self.key, _quoted(self.argument)]
        return " ".join(word for word in words if word)


def statements(text: str | bytes) -> Iterator[Command]:
    """Yield the statements of a Modelfile, in UTF-8, or UTF-16 with a byte order mark.

    Raises InvalidModelfile.
    """
    text = _decoded(text)
    at = _end(_BLANK, text, 0)
    while at < len(text):
        start = at
        at = _end(_WORD, text, start)
        keyword = text[start:at].lower()
        if at == len(text):
            raise InvalidModelfile("unexpected EOF")
        if keyword not in _COMMANDS or text[at] not in " \t":
            raise _fault(text, start, f"command must be one of {_listed(_COMMANDS)}")
        key = ""
        if keyword in ("parameter", "message"):
            key, at = _key(text, at)
        if keyword == "message" and key not in _ROLES:
            raise _fault(text, start, f"message role must be one of {_listed(_ROLES)}")
        argument, at = _argument(text, at)
        yield Command(keyword, argument, key)
        at = _end(_BLANK, text, at)


def _key(text: str, at: int) -> tuple[str, int]:
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    end = _end(_KEY, text, at)
    if text[end : end + 1] not in (" ", "\t"):
        raise InvalidModelfile("unexpected EOF")
    return text[at:end], end


def _argument(text: str, at: int) -> tuple[str, int]:
    """Read to the end of the line, or to the line that ends with the closing quote."""
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    quote = next((quote for quote in ('"""', '"') if text.startswith(quote, at)), "")
    start = at + len(quote)
    while True:
        at = _end(_LINE, text, at)
        end = start + len(text[start:at].rstrip(" \t")) if not quote else _closing(text, at, quote)
        if end >= start:
            found = text[start:end]
            return found if quote else _printable(found), at
        if at == len(text):
            raise InvalidModelfile("unexpected EOF")
        at += 1


def _closing(text: str, line_end: int, quote: str) -> int:
    """Return the position of the quote at the end of a line, or -1."""
    while text[line_end - 1] in " \t":
        line_end -= 1
    return line_end - len(quote) if text.endswith(quote, 0, line_end) else -1


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable() or character == "\t")


def _quoted(text: str) -> str:
    if text and text.isprintable() and text == text.strip() and text[0] != '"':
        return text
    return f'"""{text}"""' if '"' in text else f'"{text}"'


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _fault(text: str, at: int, message: str) -> InvalidModelfile:
    return InvalidModelfile(f"(line {text.count(chr(10), 0, at) + 1}): {message}")


def _listed(words: tuple[str, ...]) -> str:
    quoted = [f'"{word}"' for word in words]
    return f"{', '.join(quoted[:-1])}, or {quoted[-1]}"


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return text.decode("utf-16", "replace")
    return text.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
