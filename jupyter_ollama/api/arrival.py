"""The body of a request while it arrives: its size, rate and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import OllamaError
from .endpoint import Body

if TYPE_CHECKING:
    from ..bounds import Bounds


class Arrival:
    """Passes the bytes of a body on until it is complete or has failed.

    ``fail`` is called at most once, when the request must end before its body is complete.
    ``error`` is the error of a body, the rest of which is dropped.
    """

    def __init__(self, body: Body, bounds: Bounds, fail: Callable[[Exception], None]) -> None:
        self.error: Exception | None = None
        self._body = body
        self._bounds = bounds
        self._fail = fail
        self._received = 0
        self._dropped = 0
        self._watch: asyncio.TimerHandle | None = None
        self._look_again(0)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._received += len(chunk)
        if self.error is None:
            try:
                self._body.write(chunk)
            except Exception as error:
                self.error = error
                self._body.close()  # the rest of the body may take long to arrive
            return
        self._dropped += len(chunk)
        # Most clients read no answer before they have sent the whole body. Some never stop.
        if self._dropped > self._bounds.max_body_bytes and self._watch:
            self.end()
            self._fail(self.error)

    def end(self) -> None:
        """Stop watching: the body is complete, or the request has ended."""
        if self._watch:
            self._watch.cancel()
            self._watch = None

    def _look_again(self, wanted: int) -> None:
        if self._received < wanted:
            self._watch = None
            self._fail(OllamaError(408, "the body of the request comes too slowly"))
            return
        seconds = self._bounds.body_timeout
        wanted = self._received + max(1, int(self._bounds.min_body_rate * seconds))
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(seconds, self._look_again, wanted)
