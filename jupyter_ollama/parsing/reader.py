"""Read text that arrives in pieces as if it were there: formats are generators that wait.

Each step of a format takes text off the front of a short buffer and gives way (``yield``) where
only more text can decide. Nothing is scanned twice, so an answer costs time in proportion to its
length, and nothing depends on where it was cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]

FAR = 1024
"""Blank characters that a look ahead passes at most."""


class Unfinished(Exception):
    """The answer ended within something that has an end."""


class InvalidCall(Exception):
    """What stands where a tool call should is none."""


class Marks:
    """Strings to look for. Where several begin at one place, the longest is meant."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._pattern = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))
        self._beginnings = frozenset(text[:end] for text in texts for end in range(1, len(text)))
        self._longest = max(map(len, self._beginnings), default=0)

    def find(self, text: str, start: int, *, ended: bool) -> tuple[int, str]:
        """Return the place of the first mark and the mark.

        Without one the mark is "" and the place is where one may have begun, or the end.
        """
        match = self._pattern.search(text, start)
        if match is None:
            return len(text) - (0 if ended else self._begun(text, start)), ""
        place = match.start()
        if not ended and len(text) - place <= self._longest and text[place:] in self._beginnings:
            return place, ""
        return place, match.group()

    def _begun(self, text: str, start: int) -> int:
        for length in range(min(len(text) - start, self._longest), 0, -1):
            if text[-length:] in self._beginnings:
                return length
        return 0


@lru_cache(maxsize=256)
def marks(*texts: str) -> Marks:
    """Return what looks for any of the strings."""
    return Marks(texts)


class Quotes:
    """How strings and brackets are written in the values of a format."""

    def __init__(self, quotes: tuple[str, ...], *, escape: str = "", round_too: bool = False):
        self.quotes = quotes
        self.escape = escape
        self.opening = "{[(" if round_too else "{["
        self.brackets = tuple("{}[]()" if round_too else "{}[]")

    def inside(self, quote: str) -> Marks:
        """Return what looks for the end of a string."""
        return marks(quote, self.escape) if self.escape else marks(quote)

    def outside(self, stops: tuple[str, ...]) -> Marks:
        """Return what looks for a string's beginning, a bracket or one of ``stops``."""
        return marks(*self.quotes, *self.brackets, *stops)


JSON = Quotes(('"',), escape="\\")
PYTHON = Quotes(('"', "'"), escape="\\", round_too=True)


class Reader:
    """The text that came and was not yet taken."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._ended = False
        self._records: list[list[str]] = []

    def __len__(self) -> int:
        return len(self._text) - self._at

    def push(self, text: str) -> None:
        """Add text that came."""
        self._text = self._text[self._at :] + text
        self._at = 0

    def end(self) -> None:
        """Take note that nothing more comes."""
        self._ended = True

    def record(self, taken: str) -> list[str]:
        """Begin to collect all that is taken, ``taken`` being taken already."""
        self._records.append([taken])
        return self._records[-1]

    def stop(self, record: list[str]) -> None:
        """Collect no more into ``record``."""
        self._records = [other for other in self._records if other is not record]

    def forget(self) -> None:
        """Empty all records: what they hold has been understood."""
        for record in self._records:
            record.clear()

    def _take(self, length: int) -> str:
        text = self._text[self._at : self._at + length]
        self._at += len(text)
        for record in self._records:
            record.append(text)
        return text

    def until(
        self, wanted: Marks, out: Callable[[str], object], *, keep: bool = False
    ) -> Steps[str]:
        """Pass text to ``out`` up to a mark and return it, taken unless ``keep``.

        At the end of the answer it is "".
        """
        while True:
            place, mark = wanted.find(self._text, self._at, ended=self._ended)
            if place > self._at:
                out(self._take(place - self._at))
            if mark or self._ended:
                return mark if keep else self._take(len(mark))
            yield

    def rest(self, out: Callable[[str], object]) -> Steps[None]:
        """Pass all text to ``out``, up to the end of the answer."""
        while True:
            out(self._take(len(self)))
            if self._ended:
                return
            yield

    def body(self, wanted: Marks, *, keep: bool = False) -> Steps[tuple[str, str]]:
        """Return the text up to a mark, and the mark. Raises Unfinished where none comes."""
        pieces: list[str] = []
        mark = yield from self.until(wanted, pieces.append, keep=keep)
        if not mark:
            raise Unfinished
        return "".join(pieces), mark

    def character(self) -> Steps[str]:
        """Take one character. Raises Unfinished where none comes."""
        while not len(self):
            if self._ended:
                raise Unfinished
            yield
        return self._take(1)

    def sees(self, texts: tuple[str, ...], *, after: int = 0) -> Steps[str]:
        """Return which of the texts comes next after blanks, "" for none. Takes nothing.

        ``after`` characters are passed over first.
        """
        while True:
            ahead = self._text[self._at + after :]
            rest = ahead.lstrip()
            open_yet = not self._ended and len(ahead) - len(rest) <= FAR
            if not (open_yet and any(text != rest and text.startswith(rest) for text in texts)):
                return max(filter(rest.startswith, texts), key=len, default="")
            yield

    def nothing_left(self, *, after: int = 0) -> Steps[bool]:
        """Tell whether only blanks come up to the end of the answer. Takes nothing."""
        while not self._text[self._at + after :].strip():
            if self._ended:
                return True
            if len(self) > FAR + after:
                return False
            yield
        return False

    def skip(self, texts: tuple[str, ...]) -> Steps[str]:
        """Take blanks and one of the texts if it comes next, else nothing; return the text."""
        seen = yield from self.sees(texts)
        if seen:
            self._take(self._text.index(seen, self._at) + len(seen) - self._at)
        return seen

    def skip_mark(self, mark: str) -> str:
        """Take a mark that was kept."""
        return self._take(len(mark))

    def balanced(self, quotes: Quotes, stops: tuple[str, ...] = ()) -> Steps[str]:
        """Take a value in brackets, from its first to the one that closes it.

        Raises InvalidCall where one of ``stops`` comes earlier, outside of strings.
        """
        pieces: list[str] = []
        depth, quote = 0, ""
        outside = quotes.outside(stops)
        while True:
            text, mark = yield from self.body(quotes.inside(quote) if quote else outside)
            pieces += (text, mark)
            if mark == quotes.escape:
                pieces.append((yield from self.character()))
            elif quote or mark in quotes.quotes:
                quote = "" if quote else mark
            elif mark in stops:
                raise InvalidCall
            else:
                depth += 1 if mark in quotes.opening else -1
                if depth <= 0:
                    return "".join(pieces)
