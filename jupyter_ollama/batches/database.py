"""An SQLite file that a thread of its own owns; what it has answered for is on the disk."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ..errors import OllamaError

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

LOCKED_SECONDS = 10.0
"""The time for which the thread waits for a lock of another process."""


class Database:
    """Runs work on a file, in order. Pieces of work that wait together share a transaction.

    `do` returns after the commit and its fsync, so a result survives a kill and a loss of power.
    """

    def __init__(self, path: Path, schema: str) -> None:
        """Open or create the file. Raises OllamaError(500)."""
        self.path = path
        self._schema = schema
        self._queue: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(opened,), name="batches", daemon=True
        )
        self._thread.start()
        try:
            opened.result()
        except (sqlite3.Error, OSError) as error:
            raise self._explained(error) from error

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of ``work``, committed. Raises OllamaError(500) if that fails.

        The work is done even if the caller is cancelled.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from now on it cannot be cancelled
        self._queue.put((work, future))
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except (sqlite3.Error, OSError) as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Do the work that waits and close the file."""
        self._queue.put(None)
        self._thread.join(LOCKED_SECONDS + 5)

    def _explained(self, error: Exception) -> OllamaError:
        log.error("The record of batches, %s: %s", self.path, error)
        return OllamaError(500, f"the record of batches cannot be read or written: {error}")

    def _work(self, opened: Future[None]) -> None:
        try:
            connection = self._connect()
        except Exception as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        is_open = True
        while is_open:
            pieces = [self._queue.get()]
            with suppress(queue.Empty):
                while True:
                    pieces.append(self._queue.get_nowait())
            is_open = None not in pieces
            self._transact(connection, [piece for piece in pieces if piece])
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=LOCKED_SECONDS, isolation_level=None)
        self.path.chmod(0o600)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(self._schema)
        return connection

    def _transact(
        self, connection: sqlite3.Connection, pieces: list[tuple[Work, Future[Any]]]
    ) -> None:
        """Do several pieces of work in one transaction; the failure of one undoes that one."""
        if not pieces:
            return
        done: list[tuple[Future[Any], Any]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for work, future in pieces:
                connection.execute("SAVEPOINT piece")
                try:
                    done.append((future, work(connection)))
                except Exception as error:
                    if not connection.in_transaction:  # a full disk undoes all of it
                        raise
                    connection.execute("ROLLBACK TO piece")
                    future.set_exception(error)
                connection.execute("RELEASE piece")
            connection.execute("COMMIT")
        except Exception as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            for _, future in pieces:
                if not future.done():
                    future.set_exception(error)
            return
        for future, result in done:
            future.set_result(result)
