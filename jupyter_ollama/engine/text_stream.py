"""From the bytes of tokens to text for clients: whole characters, no stop strings."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns pieces into text, and holds back text that may become part of a stop string.

    ``stop`` is the stop string that was found.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False
        self.stop = ""

    def push(self, piece: bytes) -> str:
        """Add a token's bytes and return the text that is now certain. Sets ``stopped``."""
        return self._release(self._decoder.decode(piece))

    def finish(self) -> str:
        """Return the text that was held back, an incomplete character as U+FFFD."""
        text = self._release(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text if self.stopped else text + held

    def _release(self, new: str) -> str:
        text = self._held + new
        if not self._stop:
            return text
        found = ((at, stop) for stop in self._stop if (at := text.find(stop)) >= 0)
        first, stop = min(found, default=(-1, ""))
        if first >= 0:
            self.stopped, self.stop, self._held = True, stop, ""
            return text[:first]
        keep = self._open_suffix(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _open_suffix(self, text: str) -> int:
        """Length of the longest end of ``text`` that begins a stop string."""
        longest = min(len(text), max(map(len, self._stop)) - 1)
        for length in range(longest, 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop):
                return length
        return 0
