"""Detecting an answer that only repeats itself and would never end.

An answer repeats itself when its last tokens are one unit over and over. The number of repeats that
is allowed depends on the kind of unit: no sensible text has a sentence ten times in a row, but rows
of a table, elements of an array and lines of code may be equal. Periods are found by a rolling hash
(Karp and Rabin 1987).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable

WORD_RUN = 30
"""The most repeats of one token, or of one or two bare words. Ollama's own limit."""

SYMBOL_RUN = 200
"""The most repeats of a token without letters: lines, indents and digits consist of such."""

WINDOW = 128
"""Tokens that must recur before a unit is searched; one of up to this size is always found."""

FORGET = 8192
"""Windows that are remembered."""

MIN_REPEATS = 5
SENTENCE_WORDS, LINE_WORDS = 150, 400
"""A unit of prose may occur ``MIN_REPEATS`` times, and until the text has so many words. Lines are
repeated on purpose more often than sentences within a paragraph."""

BLOCK_LINES, BLOCK_REPEATS, BLOCK_TOKENS = 4, 16, 1500
"""Units of several lines, such as a function, may occur so often and until the text has so many
tokens."""

ELEMENT_TOKENS, MIN_ELEMENTS, MAX_ELEMENTS = 6000, 32, 256
"""Other units, such as an element of an array, may occur until the text has so many tokens, within
the least and the most repeats."""

STRUCTURED = 4
"""The factor by which these limits grow for answers that follow a constraint."""

_BASE, _MODULUS = 1_000_003, (1 << 61) - 1
_LEAVING = pow(_BASE, WINDOW, _MODULUS)

_CODE = frozenset("{}@#%&/\\")
"""Punctuation that does not occur in prose."""
_QUOTED = re.compile(r'"\s*[,:\]}]')
_BARE_WORDS = re.compile(r"[^\W\d_]*(?: [^\W\d_]+)+ ?| ?(?:[^\W\d_]+ )+[^\W\d_]*")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts without blanks between words."""


class RepetitionDetector:
    """Reads the tokens of one answer, each at the same average cost, however many there are.

    ``piece`` returns the bytes of a token. ``structured`` answers follow a constraint, which may
    require many equal elements.
    """

    def __init__(self, piece: Callable[[int], bytes], *, structured: bool = False) -> None:
        self._piece = piece
        self._structured = structured
        self._tokens: list[int] = []
        self._run, self._longest_run = 0, 0
        self._period, self._length, self._enough = 0, 0, 0
        self._hash = 0
        self._seen: dict[int, int] = {}

    def add(self, token: int) -> bool:
        """Take the next token; return True if the answer repeats itself too often."""
        tokens = self._tokens
        tokens.append(token)
        count = len(tokens)
        if count > 1 and tokens[-2] == token:
            self._run += 1
            if self._run > WORD_RUN and self._run > self._run_limit(token):
                return True
        else:
            self._run = 1
        # A polynomial hash of the last WINDOW tokens; where it recurs there is a period.
        self._hash = (self._hash * _BASE + token + 1) % _MODULUS
        if count < WINDOW:
            return False
        if count > WINDOW:
            self._hash = (self._hash - (tokens[-1 - WINDOW] + 1) * _LEAVING) % _MODULUS
        if self._period and token == tokens[-1 - self._period]:
            self._length += 1
        else:
            self._look_for_period()
        return self._period > 0 and self._length > self._enough

    def _run_limit(self, token: int) -> int:
        if self._run == WORD_RUN + 1:
            text = self._piece(token).decode("utf-8", "replace")
            is_symbol = bool(text) and not any(map(str.isalpha, text))
            self._longest_run = SYMBOL_RUN if is_symbol else WORD_RUN
        return self._longest_run

    def _look_for_period(self) -> None:
        count = len(self._tokens)
        last = self._seen.get(self._hash, 0)
        if len(self._seen) >= FORGET:
            self._seen.clear()
        self._seen[self._hash] = count
        self._period = 0
        period = count - last
        if not last or period == 1:  # runs are counted
            return
        length = self._periodic(period)
        if length >= period + WINDOW:  # otherwise only the hashes are equal
            self._period, self._length = period, length
            self._enough = period * self._repeats(period)

    def _periodic(self, period: int) -> int:
        """Return how many of the last tokens have a period."""
        tokens = self._tokens
        length = period
        while length < len(tokens) and tokens[-1 - length] == tokens[-1 - length + period]:
            length += 1
        return length

    def _repeats(self, period: int) -> int:
        """Return how often the last ``period`` tokens may be repeated."""
        unit = b"".join(map(self._piece, self._tokens[-period:])).decode("utf-8", "ignore")
        if words := prose_words(unit):
            enough = LINE_WORDS if "\n" in unit else SENTENCE_WORDS
            return max(MIN_REPEATS, math.ceil(enough / words))
        if _BARE_WORDS.fullmatch(unit):
            return WORD_RUN
        repeats = min(MAX_ELEMENTS, max(MIN_ELEMENTS, ELEMENT_TOKENS // period))
        if self._structured:
            return STRUCTURED * repeats
        lines = [line for line in unit.splitlines() if any(map(str.isalpha, line))]
        if len(lines) >= BLOCK_LINES:
            return min(repeats, max(BLOCK_REPEATS, BLOCK_TOKENS // period))
        return repeats


def prose_words(unit: str) -> float:
    """Return the number of words in a repeated text; 0 if it is not prose, or fewer than three."""
    text = 2 * unit  # the unit may begin within a word
    if _QUOTED.search(text):
        return 0
    words = 0.0
    for chunk in text.split():
        core = _without_edges(chunk)
        if not core or core.isdecimal():
            continue
        if "()" in chunk or "[]" in chunk or not all(map(_is_within_word, core)):
            return 0
        words += max(1.0, len(_UNSPACED.findall(core)) / 2)
    return words / 2 if words >= 6 else 0


def _without_edges(chunk: str) -> str:
    begin, end = 0, len(chunk)
    while begin < end and _is_punctuation(chunk[begin]):
        begin += 1
    while begin < end and _is_punctuation(chunk[end - 1]):
        end -= 1
    return chunk[begin:end]


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character not in _CODE


def _is_within_word(character: str) -> bool:
    if character.isascii():
        return character.isalpha() or character in "'-"
    return unicodedata.category(character)[0] in "LMP"
