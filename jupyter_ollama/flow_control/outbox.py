"""Backpressure: the bytes that clients have not read, and the time for which they may wait.

Answers are produced without waiting for their readers, so that a client that does not read holds no
slot of a model. The unread bytes and the time without progress are bounded; beyond either bound the
connection is closed, which ends the request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)

CHUNK = 1 << 16
"""Bytes that are written to the socket at once; each write counts as progress."""


class OutboxSettings(Protocol):
    """The settings used here: see `Sharing`."""

    @property
    def stalled_seconds(self) -> float:
        """The seconds for which a client may read nothing, 0 for no bound."""

    @property
    def max_unread_bytes(self) -> int:
        """The most unread bytes of a stream."""

    @property
    def max_unread_total(self) -> int:
        """The most unread bytes of all clients together."""


class Outboxes:
    """All unread answers of a server."""

    def __init__(self, bounds: OutboxSettings) -> None:
        self.bounds = bounds
        self.total = 0
        self.waiting: dict[Outbox, None] = {}

    def add(self, outbox: Outbox, count: int) -> None:
        """Count bytes that begin to wait; beyond the bound close the longest-waiting connection."""
        self.total += count
        self.waiting[outbox] = None
        while self.total > self.bounds.max_unread_total and self.waiting:
            longest = min(self.waiting, key=lambda one: one.progress_at)
            longest.give_up("the answers that clients have not read take too much memory")

    def remove(self, outbox: Outbox, count: int) -> None:
        """Count bytes that were sent or dropped."""
        self.total -= count
        if not outbox.unread:
            self.waiting.pop(outbox, None)


class Outbox:
    """The bytes of one answer on their way to its client."""

    def __init__(
        self,
        all_of_them: Outboxes,
        send: Callable[[bytes], asyncio.Future[None]],
        close: Callable[[], None],
    ) -> None:
        """``send`` writes bytes to the socket, ``close`` ends the connection."""
        self._all = all_of_them
        self._send = send
        self._close = close
        self._parts: deque[memoryview] = deque()
        self._in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._is_closed = False
        self.unread = 0
        self.progress_at = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """True while the socket has not taken all bytes."""
        return self._in_flight > 0

    @property
    def is_full(self) -> bool:
        """True if more of a stream waits than may."""
        return self.unread > self._all.bounds.max_unread_bytes

    def put(self, data: bytes) -> None:
        """Send bytes as soon as the client reads; none once the connection is closed."""
        if self._is_closed or not data:
            return
        if not self.unread:
            self.progress_at = time.monotonic()
        self._parts.append(memoryview(data))
        self.unread += len(data)
        self._empty.clear()
        self._all.add(self, len(data))
        if not (self._in_flight or self._is_closed):
            self._send_next()

    async def drained(self) -> None:
        """Wait until the socket has taken everything, or the connection is closed."""
        await self._empty.wait()

    def watch(self, sent: asyncio.Future[None], count: int) -> None:
        """Watch bytes that were written to the socket without this outbox."""
        if not self._is_closed and not sent.done():
            self.progress_at = time.monotonic()
            self.unread += count
            self._empty.clear()
            self._all.add(self, count)
            if not self._is_closed:
                self._await(sent, count)

    def close(self) -> None:
        """Drop the unread bytes: the connection has ended."""
        self._is_closed = True
        self._parts.clear()
        gone, self.unread, self._in_flight = self.unread, 0, 0
        if gone:
            self._all.remove(self, gone)
        self._empty.set()
        if self._timer:
            self._timer.cancel()

    def give_up(self, reason: str) -> None:
        """Close the connection of a client that does not read."""
        log.info("A connection is closed with %d unread bytes: %s", self.unread, reason)
        self.close()
        self._close()

    def _send_next(self) -> None:
        chunk = bytearray()
        while self._parts and len(chunk) < CHUNK:
            part = self._parts.popleft()
            taken = min(len(part), CHUNK - len(chunk))
            chunk += part[:taken]
            if taken < len(part):
                self._parts.appendleft(part[taken:])
        self._await(self._send(bytes(chunk)), len(chunk))

    def _await(self, sent: asyncio.Future[None], count: int) -> None:
        self._in_flight = count
        sent.add_done_callback(self._sent)
        seconds = self._all.bounds.stalled_seconds
        if self._timer is None and seconds:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _sent(self, sent: asyncio.Future[None]) -> None:
        if self._is_closed:
            return
        if sent.cancelled() or sent.exception():
            self.close()
            return
        self.progress_at = time.monotonic()
        gone, self._in_flight = self._in_flight, 0
        self.unread -= gone
        self._all.remove(self, gone)
        if self._parts:
            self._send_next()
        else:
            self._empty.set()
            if self._timer:
                self._timer.cancel()
                self._timer = None

    def _look(self) -> None:
        """Close the connection if it made no progress for too long, else check again later."""
        self._timer = None
        seconds = self._all.bounds.stalled_seconds
        rest = self.progress_at + seconds - time.monotonic()
        if rest > 0:
            self._timer = asyncio.get_running_loop().call_later(rest, self._look)
        else:
            self.give_up(f"the client has read nothing for {seconds:.0f} s")
