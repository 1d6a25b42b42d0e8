"""Breaks lines between words, while the text is still being written."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

FENCE = "```"


class WordWrap:
    """Takes text in pieces and returns it with line breaks where a word would pass the edge.

    A word is held back until its end is known. Lines between code fences stay as they are: what is
    copied from the terminal must still be that code.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        """``width`` returns the columns of the terminal, which may change."""
        self._width = width
        self._column = 0
        self._blanks = ""
        self._word = ""
        self._line_head = ""
        self._in_code = False

    def feed(self, text: str) -> str:
        """Return the part of the text that can be shown now."""
        return "".join(map(self._take, text))

    def flush(self) -> str:
        """Return the text held back: no more follows, or not for a while."""
        return self._end_word() + self._end_blanks()

    def _take(self, character: str) -> str:
        if character == "\n":
            done = self._end_word() + self._end_blanks() + character
            if self._line_head.lstrip(" ").startswith(FENCE):
                self._in_code = not self._in_code
            self._column, self._line_head = 0, ""
            return done
        if len(self._line_head) < 8:
            self._line_head += character
        if self._in_code:
            self._column += columns(character)
            return character
        if character in " \t":
            done = self._end_word()
            self._blanks += character
            return done
        if columns(character) > 1:  # scripts without spaces break anywhere
            done = self._end_word()
            self._word = character
            return done + self._end_word()
        self._word += character
        return ""

    def _end_word(self) -> str:
        if not self._word:
            return ""
        blanks, word = self._blanks, self._word
        self._blanks = self._word = ""
        width, length = self._width(), columns(word)
        if self._column and self._column + columns(blanks) + length > width:
            self._column = length
            return f"\n{word}"
        self._column += columns(blanks) + length
        return blanks + word

    def _end_blanks(self) -> str:
        blanks, self._blanks = self._blanks, ""
        self._column += columns(blanks)
        return blanks


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes; a tab counts as eight."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if character == "\t":
        return 8
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
