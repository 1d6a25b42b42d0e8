"""The bytes and lines of an upstream's answer, each with a deadline and bounds."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from .failure import UpstreamFailure
from .failures import Failures

if TYPE_CHECKING:
    import httpx2

_LAST_SECONDS = 0.5
_LAST_CHUNKS = 8


class Chunks:
    """The bytes of an answer as they arrive, with a deadline for the next ones."""

    def __init__(
        self,
        failures: Failures,
        response: httpx2.Response,
        seconds: float | None,
        max_bytes: int,
        began: float | None = None,
    ) -> None:
        self._failures = failures
        self._left = max_bytes
        self._httpx = import_module("httpx2")
        self._raw = response.aiter_raw()
        self.expect(seconds, began)

    def expect(self, seconds: float | None, began: float | None = None) -> None:
        """Let ``seconds`` pass, None for any time, from now or a time of the event loop's clock."""
        self._seconds = seconds
        begin = asyncio.get_running_loop().time() if began is None else began
        self._deadline = None if seconds is None else begin + seconds

    async def next(self) -> bytes | None:
        """Return the next bytes, None at the end. Raises UpstreamFailure."""
        try:
            async with asyncio.timeout_at(self._deadline):
                chunk: bytes | None = await anext(self._raw, None)
        except TimeoutError:
            if self._seconds is None:  # the deadline is the caller's
                raise
            raise self._failures.silent(self._seconds) from None
        except self._httpx.RequestError as error:
            raise self._failures.broken(error) from None
        self._left -= len(chunk or b"")
        if self._left < 0:
            raise self._failures.unusable("more than this server reads (upstream_max_bytes)")
        return chunk


class Lines:
    """The lines of a streamed answer, none longer than the bound."""

    def __init__(
        self,
        failures: Failures,
        response: httpx2.Response,
        chunks: Chunks,
        pause: float,
        max_line: int,
    ) -> None:
        """``pause`` seconds may pass between two parts with content."""
        self._pause = pause
        self.failures = failures
        self.content_type = response.headers.get("content-type", "").partition(";")[0].lower()
        self._chunks = chunks
        self._max_line = max_line
        self._buffer = bytearray()
        self._searched = 0
        self._ended = False

    def progressed(self) -> None:
        """Let the next part take as long as a pause may: the last one had content."""
        self._chunks.expect(self._pause)

    async def next(self) -> bytes | None:
        """Return the next line that is not empty, None at the end. Raises UpstreamFailure."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0 or (self._ended and self._buffer):
                stop = end if end >= 0 else len(self._buffer)
                line = bytes(self._buffer[:stop]).strip()
                del self._buffer[: stop + 1]
                self._searched = 0
                if line:
                    return line
                continue
            if self._ended:
                return None
            self._searched = len(self._buffer)
            if self._searched > self._max_line:
                raise self.failures.unusable("a longer line than this server reads")
            chunk = await self._chunks.next()
            if chunk is None:
                self._ended = True
            else:
                self._buffer += chunk

    async def finish(self) -> None:
        """Read to the end, which should be near, so that the connection can be used again."""
        self._chunks.expect(_LAST_SECONDS)
        with suppress(UpstreamFailure):
            for _ in range(_LAST_CHUNKS):
                if await self._chunks.next() is None:
                    return

    async def rest(self) -> bytes:
        """Return what follows. Raises UpstreamFailure."""
        while (chunk := await self._chunks.next()) is not None:
            self._buffer += chunk
            self.progressed()
        return bytes(self._buffer)
