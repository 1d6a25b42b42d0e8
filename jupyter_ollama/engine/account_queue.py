"""Work of several accounts, taken in turn, and the cancellation of work."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar


class Cancelled(Exception):
    """Raised inside the preparation of a request that was cancelled."""


class Job:
    """The preparation of one request, whose encoded command is ``data``.

    Any thread may cancel it: then ``check`` raises `Cancelled`, and a `stoppable` step of its work
    is ended.
    """

    def __init__(self, request: int, account: int, data: bytes) -> None:
        self.request = request
        self.account = account
        self.data = data
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._stop: Callable[[], None] | None = None

    def cancel(self) -> None:
        """End the work as soon as it can be ended."""
        with self._lock:
            self._is_cancelled = True
            if self._stop:
                self._stop()

    def check(self) -> None:
        """Raise Cancelled if the request was cancelled."""
        if self._is_cancelled:
            raise Cancelled

    @contextmanager
    def stoppable(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop`` if the request is cancelled while the block runs.

        In that case, raise Cancelled at the end of the block, whatever the block has raised.
        """
        with self._lock:
            self.check()
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None
            self.check()


T = TypeVar("T")


class AccountQueue(Generic[T]):
    """A queue of work in which accounts take turns, and each account's work keeps its order.

    One piece of work of an account runs at a time, so that a pool of several threads has a free
    one for the next account.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: OrderedDict[int, deque[T]] = OrderedDict()
        self._busy: set[int] = set()

    def put(self, account: int, work: T) -> None:
        """Queue work."""
        with self._changed:
            self._lines.setdefault(account, deque()).append(work)
            self._changed.notify()

    def drop(self, account: int, work: T) -> bool:
        """Remove work from the queue; return False if it has left the queue before."""
        with self._changed:
            line = self._lines.get(account, deque())
            if work not in line:
                return False
            line.remove(work)
            if not line:
                del self._lines[account]
            return True

    @contextmanager
    def next(self, timeout: float | None = None) -> Iterator[T | None]:
        """Wait for work of the account whose turn it is; the account is busy during the block.

        Yields None after ``timeout`` seconds without work; 0 does not wait.
        """
        with self._changed:
            found = self._changed.wait_for(lambda: self._ready() is not None, timeout)
            account = self._ready() if found else None
            if account is None:
                work = None
            else:
                line = self._lines[account]
                work = line.popleft()
                self._lines.move_to_end(account)
                if not line:
                    del self._lines[account]
                self._busy.add(account)
        try:
            yield work
        finally:
            if account is not None:
                with self._changed:
                    self._busy.discard(account)
                    self._changed.notify()

    def _ready(self) -> int | None:
        return next((account for account in self._lines if account not in self._busy), None)
