"""The SQLite file with the cost of requests and the blocked users. It contains no texts."""

from __future__ import annotations

import json
import logging
import queue
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ..budgets.ledger import Spent
from ..errors import OllamaError
from .records import FinishedRequest, Past, Since
from .tables import (
    BLOCK,
    BLOCKED,
    COLUMNS,
    INSERT,
    NO_OVERRIDE,
    OVERRIDE,
    OVERRIDES,
    PRUNE,
    RECORDED,
    SCHEMA,
    SPENT,
    SUMS,
    UNBLOCK,
    USERS,
)

log = logging.getLogger(__name__)

BY = {
    "user": ("user", "usage"),
    "group": ("json_each.value", "usage, json_each(usage.groups)"),
    "model": ("model", "usage"),
}
"""The keys by which usage can be summed up: the column, and the tables that contain it."""

DAY = 86400.0

LOCKED_SECONDS = 10.0
"""The time for which the writer waits for a lock of another process before it retries later."""

READ_SECONDS = 2.0
"""The time for which a reader waits for a lock, and the first requests for the past."""

RETRY_SECONDS = 5.0
"""The time between two attempts to write to a file that is locked or cannot be written."""

MOST_CHANGES = 100_000
"""The number of changes kept in memory while the file cannot be written: some 30 MB."""

Change = tuple[str, tuple[Any, ...]]
"""A statement that changes the file, and its arguments."""


class UsageStore:
    """Writes rows to SQLite in a thread of its own, so that requests never wait for the disk.

    Several servers may share the file. Rows stay in memory while it is locked or cannot be written.
    A removed file is created again; a damaged one is renamed and replaced. ``past`` is None until
    it is read.
    """

    def __init__(
        self,
        path: Path,
        keep_days: float,
        periods: Mapping[str, Since] | None = None,
        host: str = "",
    ) -> None:
        """Use a file. Rows older than ``keep_days`` and than all periods are removed once a day.

        At the start the spent tokens of each of ``periods`` are read, with a ``host`` those of
        that host alone.
        """
        self.path = path
        self.past: Past | None = None
        self._periods = periods or {}
        self._host = host
        self._keep = keep_days * DAY
        self._process = secrets.token_hex(6)
        self._started = time.time()
        self._changes: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self._pending: list[Change] = []
        self._blocked: set[str] = set()
        self._overrides: dict[str, str] = {}
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._pruned = 0.0
        self._has_failed = False
        self._tried = threading.Event()
        self._progress = threading.Condition()
        self._added = self._written = 0
        self._writer = threading.Thread(target=self._work, name="usage", daemon=True)

    def start(self) -> None:
        """Start the thread, which reads the past, then writes the rows that are added."""
        self._writer.start()

    def wait_for_past(self) -> None:
        """Block until the past is read; give up after `READ_SECONDS`, for example for a lock.

        A file that is locked is read as soon as it is free.
        """
        self._tried.wait(READ_SECONDS)

    def add(self, request: FinishedRequest, on_written: Callable[[], None] | None = None) -> None:
        """Write the cost of a request, soon; what was added before for the request is replaced.

        ``on_written`` is called in the writer's thread.
        """
        row = (
            request.recorded_at or time.time(),
            request.user,
            json.dumps(request.groups),
            request.model,
            request.digest,
            request.path,
            request.status,
            request.prompt_tokens,
            request.cached_tokens,
            request.generated_tokens,
            round(request.waited * 1000),
            round(max(0.0, request.closed - request.opened) * 1000),
            self._host,
            request.once or f"{self._process}-{request.number}",
        )
        self._put((INSERT, row), on_written)

    def close(self) -> None:
        """Write the pending rows and stop the thread; give up if the file stays locked."""
        self._changes.put(None)
        self._writer.join(LOCKED_SECONDS + RETRY_SECONDS)

    def _work(self) -> None:
        is_open = True
        while is_open:
            self._try_to_write()
            self._tried.set()
            is_open = self._collect()
        self._try_to_write()
        if self._pending:
            log.error("%d rows of usage are lost: %s", len(self._pending), self.path)

    def _collect(self) -> bool:
        """Wait for changes or the next attempt to write; return False after `close`."""
        changes: list[Change | None] = []
        try:
            changes.append(self._changes.get(timeout=RETRY_SECONDS if self._is_behind else None))
            while not self._changes.empty():
                changes.append(self._changes.get())
        except queue.Empty:
            pass
        self._pending += [change for change in changes if change is not None]
        if (excess := len(self._pending) - MOST_CHANGES) > 0:
            log.error("%d rows of usage are lost: %s cannot be written", excess, self.path)
            del self._pending[:excess]
            self._finish(excess)
        return None not in changes

    def _finish(self, changes: int) -> None:
        with self._progress:
            self._written += changes
            self._progress.notify_all()
        while self._waiting and self._waiting[0][0] <= self._written:
            self._waiting.popleft()[1]()

    @property
    def _is_behind(self) -> bool:
        return bool(self._pending) or self.past is None

    def _try_to_write(self) -> None:
        for _ in range(2):  # the second attempt is for the replacement of a damaged file
            try:
                self._write()
            except (sqlite3.OperationalError, OSError) as error:
                if not self._has_failed:
                    log.error("Usage is kept in memory, %s: %s", self.path, error)
                self._has_failed = True
            except sqlite3.DatabaseError as error:
                self._move_aside(error)
                continue
            else:
                if self._has_failed:
                    log.info("Usage is written again: %s", self.path)
                self._has_failed = False
            return

    def _write(self) -> None:
        """Write the pending changes, and read the past once. Raises sqlite3.Error, OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_new = not self.path.exists()
        with closing(self._connect(LOCKED_SECONDS)) as connection:
            self.path.chmod(0o600)
            connection.execute("PRAGMA journal_mode=WAL")
            self._prepare(connection)
            with connection:
                if is_new:
                    connection.executemany(BLOCK, [(user,) for user in self._blocked])
                    known = [(field, one) for field, one in self._overrides.items() if one]
                    connection.executemany(OVERRIDE, known)
                for statement, arguments in self._pending:
                    connection.execute(statement, arguments)
                if time.time() - self._pruned > DAY:
                    kept = [since.time for since in self._periods.values()]
                    connection.execute(PRUNE, (min([time.time() - self._keep, *kept]),))
                    self._pruned = time.time()
            self._finish(len(self._pending))
            self._pending = []
            if self.past is None:
                self.past = self._read_past(connection)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create the tables, and the columns that a file of an earlier version lacks."""
        found = {row[1] for row in connection.execute("PRAGMA table_info(usage)")}
        for name, kind in COLUMNS.items():
            if found and name not in found:
                connection.execute(f"ALTER TABLE usage ADD COLUMN {name} {kind}")
        connection.executescript(SCHEMA)

    def _read_past(self, connection: sqlite3.Connection) -> Past:
        spent = {}
        for period, since in self._periods.items():
            arguments = (since.time, self._started, self._host, since.bucket)
            spent[period] = [
                Spent(at, user, tuple(json.loads(groups)), model, tokens)
                for at, user, groups, model, tokens in connection.execute(SPENT, arguments)
            ]
        blocked = {user for (user,) in connection.execute(BLOCKED)}
        overrides = dict(connection.execute(OVERRIDES).fetchall())
        self._blocked |= blocked
        self._overrides = overrides | self._overrides
        return Past(spent, blocked, overrides)

    def _move_aside(self, reason: Exception) -> None:
        """Rename a file that is not an SQLite database."""
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        try:
            self.path.rename(aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            log.error("%s is damaged (%s) and cannot be replaced: %s", self.path, reason, error)
        else:
            log.error("%s is damaged (%s): it is kept as %s", self.path, reason, aside.name)

    def _connect(self, timeout: float) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=timeout)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def sums(self, by: str, since: float, user: str | None = None) -> list[dict[str, Any]]:
        """Sum up the usage of one user, or of all, by "user", "group" or "model"."""
        column, source = BY[by]
        rows = self._read(
            f"""SELECT {column}, {SUMS} FROM {source} WHERE time > ? AND ? IN (user, '')
            GROUP BY 1 ORDER BY sum(prompt_tokens + generated_tokens) DESC""",
            (since, user or ""),
        )
        names = (by, "requests", "prompt_tokens", "cached_tokens", "generated_tokens")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def users(self, since: float) -> dict[str, tuple[str, ...]]:
        """Return the users with usage after a time, and the groups of each one's last request."""
        rows = self._read(USERS, (since,))
        return {user: tuple(json.loads(groups)) for user, groups, _ in rows}

    def days(self, since: float) -> list[tuple[Any, ...]]:
        """List (day, user, groups, model, path, requests, tokens…) for a table."""
        return self._read(
            f"""SELECT date(time, 'unixepoch'), user, groups, model, path, {SUMS}
            FROM usage WHERE time > ? GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 4, 5""",
            (since,),
        )

    def recorded(self, prefix: str) -> set[str]:
        """Return the ids ``once`` that begin so and are recorded. Raises OllamaError(503)."""
        rows = self._read(RECORDED, (prefix, prefix + chr(0x10FFFF)))
        return {once for (once,) in rows}

    def wait_until_written(self) -> bool:
        """Block until all that was added is in the file; return False if that takes long."""
        added = self._added
        with self._progress:
            return self._progress.wait_for(lambda: self._written >= added, LOCKED_SECONDS)

    def block(self, user: str, blocked: bool) -> None:
        """Write, soon, that a user is blocked or unblocked."""
        (self._blocked.add if blocked else self._blocked.discard)(user)
        self._put((BLOCK if blocked else UNBLOCK, (user,)))

    def override(self, field: str, value: str) -> None:
        """Write, soon, limits that hold for a time; "" removes them."""
        self._overrides[field] = value
        self._put((OVERRIDE, (field, value)) if value else (NO_OVERRIDE, (field,)))

    def _put(self, change: Change, on_written: Callable[[], None] | None = None) -> None:
        self._added += 1
        if on_written:
            self._waiting.append((self._added, on_written))
        self._changes.put(change)

    def _read(self, query: str, arguments: Iterable[Any]) -> list[Any]:
        """Return the rows of a query, including those added before if they can be written soon.

        Raises OllamaError(503) if the file cannot be read.
        """
        added = self._added
        with self._progress:
            self._progress.wait_for(lambda: self._written >= added, READ_SECONDS)
        try:
            with closing(self._connect(READ_SECONDS)) as connection:
                return connection.execute(query, tuple(arguments)).fetchall()
        except sqlite3.Error as error:
            log.error("Usage cannot be read: %s: %s", self.path, error)
            raise OllamaError(503, f"the record of usage cannot be read now: {error}") from error
