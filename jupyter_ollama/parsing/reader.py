"""Reading text that arrives in pieces as if it were complete: formats are generators.

Each step of a format consumes text from the front of a short buffer and yields when it needs more
text to decide. No text is scanned twice, so that the time is linear in the length of the answer,
and the result does not depend on the pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]

FAR = 1024
"""The most blanks that a look-ahead skips."""


class Unfinished(Exception):
    """The answer ended before the end of a block."""


class InvalidCall(Exception):
    """The text in the place of a tool call is none."""


def without_beginning(text: str, mark: str) -> str:
    """Return a text without a partial mark at its end."""
    for end in range(len(mark), 0, -1):
        if text.endswith(mark[:end]):
            return text[:-end]
    return text


class Marks:
    """Strings to search for. The longest match at a position wins."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._pattern = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))
        self._beginnings = frozenset(text[:end] for text in texts for end in range(1, len(text)))
        self._longest = max(map(len, self._beginnings), default=0)

    def find(self, text: str, start: int, *, ended: bool) -> tuple[int, str]:
        """Return the index of the first mark and the mark.

        Without one the mark is "" and the index points to a possible partial mark, or to the end.
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
    """Return a searcher for any of the strings."""
    return Marks(texts)


class Quotes:
    """The syntax of strings and brackets in the values of a format."""

    def __init__(self, quotes: tuple[str, ...], *, escape: str = "", round_too: bool = False):
        self.quotes = quotes
        self.escape = escape
        self.opening = "{[(" if round_too else "{["
        self.brackets = tuple("{}[]()" if round_too else "{}[]")

    def inside(self, quote: str) -> Marks:
        """Return a searcher for the end of a string."""
        return marks(quote, self.escape) if self.escape else marks(quote)

    def outside(self, stops: tuple[str, ...]) -> Marks:
        """Return a searcher for the beginning of a string, a bracket or one of ``stops``."""
        return marks(*self.quotes, *self.brackets, *stops)


JSON = Quotes(('"',), escape="\\")
PYTHON = Quotes(('"', "'"), escape="\\", round_too=True)


class Reader:
    """The received text that is not consumed yet."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._ended = False
        self._records: list[list[str]] = []

    def __len__(self) -> int:
        return len(self._text) - self._at

    def push(self, text: str) -> None:
        """Add received text."""
        self._text = self._text[self._at :] + text
        self._at = 0

    def end(self) -> None:
        """End the text."""
        self._ended = True

    def record(self, taken: str) -> list[str]:
        """Start a record of all consumed text, beginning with ``taken``."""
        self._records.append([taken])
        return self._records[-1]

    def stop(self, record: list[str]) -> None:
        """Stop recording into ``record``."""
        self._records = [other for other in self._records if other is not record]

    def forget(self) -> None:
        """Clear all records, because their text has been parsed."""
        for record in self._records:
            record.clear()

    def _take(self, length: int) -> str:
        text = self._text[self._at : self._at + length]
        self._at += len(text)
        for record in self._records:
            record.append(text)
        return text

    def until(
        self,
        wanted: Marks,
        out: Callable[[str], object],
        *,
        keep: bool = False,
        drops: bool = False,
    ) -> Steps[str]:
        """Pass text to ``out`` up to a mark and return the mark, consumed unless ``keep``.

        At the end of the answer it is "". With ``drops``, a partial mark at the end of the answer
        is dropped, unless it is a single character.
        """
        while True:
            place, mark = wanted.find(self._text, self._at, ended=self._ended)
            if drops and self._ended and not mark:
                place, _ = wanted.find(self._text, self._at, ended=False)
                if place < len(self._text) - 1:
                    out(self._take(place - self._at))
                    self._take(len(self))
                    return ""
                place = len(self._text)
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
        """Return the text up to a mark, and the mark. Raises Unfinished without one."""
        pieces: list[str] = []
        mark = yield from self.until(wanted, pieces.append, keep=keep)
        if not mark:
            raise Unfinished
        return "".join(pieces), mark

    def character(self) -> Steps[str]:
        """Consume one character. Raises Unfinished at the end."""
        while not len(self):
            if self._ended:
                raise Unfinished
            yield
        return self._take(1)

    def sees(self, texts: tuple[str, ...], *, after: int = 0) -> Steps[str]:
        """Return which of the texts is next after blanks, "" for none. Consumes nothing.

        ``after`` characters are skipped first.
        """
        while True:
            ahead = self._text[self._at + after :]
            rest = ahead.lstrip()
            open_yet = not self._ended and len(ahead) - len(rest) <= FAR
            if not (open_yet and any(text != rest and text.startswith(rest) for text in texts)):
                return max(filter(rest.startswith, texts), key=len, default="")
            yield

    def nothing_left(self, *, after: int = 0) -> Steps[bool]:
        """Return whether only blanks follow up to the end of the answer. Consumes nothing."""
        return self.over("", after=after)

    def over(self, text: str, *, after: int = 0) -> Steps[bool]:
        """Return whether only blanks, or a partial text, follow up to the end of the answer.

        ``after`` characters are skipped first. Consumes nothing.
        """
        while text.startswith(self._text[self._at + after :].strip()):
            if self._ended:
                return True
            if len(self) > FAR + after:
                return False
            yield
        return False

    def line_ends(self) -> Steps[bool]:
        """Return whether a line break or the end of the answer is next. Consumes nothing."""
        while not len(self):
            if self._ended:
                return True
            yield
        return self._text[self._at] in "\r\n"

    def skip(self, texts: tuple[str, ...]) -> Steps[str]:
        """Consume blanks and one of the texts if it is next, else nothing; return the text."""
        seen = yield from self.sees(texts)
        if seen:
            self._take(self._text.index(seen, self._at) + len(seen) - self._at)
        return seen

    def close(self, texts: tuple[str, ...]) -> Steps[str]:
        """Skip one of the texts, or a partial one at the end of the answer.

        Returns the consumed text, "" for none.
        """
        seen = yield from self.skip(texts)
        rest = self._text[self._at :].strip()
        if seen or not rest or not self._ended:
            return seen
        if any(text.startswith(rest) for text in texts):
            self._take(len(self))
            return rest
        return ""

    def skip_mark(self, mark: str) -> str:
        """Consume a mark that was kept."""
        return self._take(len(mark))

    def balanced(self, quotes: Quotes, stops: tuple[str, ...] = ()) -> Steps[str]:
        """Consume a value in brackets, from the first to its closing one.

        Raises InvalidCall if one of ``stops`` occurs earlier, outside of strings.
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
