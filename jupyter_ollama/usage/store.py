"""A file of what requests have cost, who asked for them, and who is blocked. No text is in it."""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..scheduler.ticket import Ticket

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS usage (
    time REAL NOT NULL, user TEXT NOT NULL, groups TEXT NOT NULL, model TEXT NOT NULL,
    digest TEXT NOT NULL, path TEXT NOT NULL, status INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    generated_tokens INTEGER NOT NULL, waited_ms INTEGER NOT NULL, total_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS usage_of_user ON usage (user, time);
CREATE INDEX IF NOT EXISTS usage_by_time ON usage (time);
CREATE TABLE IF NOT EXISTS blocked (user TEXT PRIMARY KEY);
"""
INSERT = f"INSERT INTO usage VALUES ({', '.join('?' * 12)})"
PRUNE = "DELETE FROM usage WHERE time < ?"
SUMS = """count(*) AS requests, sum(prompt_tokens) AS prompt_tokens,
    sum(cached_tokens) AS cached_tokens, sum(generated_tokens) AS generated_tokens"""
BY = {
    "user": ("user", "usage"),
    "group": ("json_each.value", "usage, json_each(usage.groups)"),
    "model": ("model", "usage"),
}
"""What usage can be summed by: the column, and where it is found."""

SECONDS_OF_A_PART = 300
LOCKED_SECONDS = 10.0
DAY = 86400.0

Change = tuple[str, tuple[Any, ...]]
"""A statement that changes the file, and its arguments."""


class UsageStore:
    """Rows in SQLite, written by a thread of its own so that nobody waits for the disk.

    Several servers may share the file. Where it cannot be written the log says so, and requests
    are served all the same.
    """

    def __init__(self, path: Path, keep_days: float) -> None:
        """Open or make the file. Rows older than ``keep_days`` are removed now and then.

        Raises sqlite3.Error or OSError if it cannot be opened.
        """
        self.path = path
        self._keep = keep_days * DAY
        self._changes: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(SCHEMA)
        path.chmod(0o600)
        self._writer = threading.Thread(target=self._write, name="usage", daemon=True)
        self._writer.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=LOCKED_SECONDS)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def add(self, ticket: Ticket) -> None:
        """Write down what a request has cost, soon."""
        row = (
            time.time(),
            ticket.account.name,
            json.dumps(ticket.groups),
            ticket.model,
            ticket.digest,
            ticket.path,
            ticket.status,
            ticket.prompt_tokens,
            ticket.cached_tokens,
            ticket.generated_tokens,
            round(ticket.waited * 1000),
            round((ticket.closed - ticket.opened) * 1000),
        )
        self._changes.put((INSERT, row))

    def close(self) -> None:
        """Write what is left and end."""
        self._changes.put(None)
        self._writer.join()

    def _write(self) -> None:
        pruned = 0.0
        going_on = True
        while going_on:
            changes = [self._changes.get()]
            while not self._changes.empty():
                changes.append(self._changes.get())
            going_on = None not in changes
            try:
                with closing(self._connect()) as connection, connection:
                    for statement, arguments in filter(None, changes):
                        connection.execute(statement, arguments)
                    if time.time() - pruned > DAY:
                        connection.execute(PRUNE, (time.time() - self._keep,))
                        pruned = time.time()
            except sqlite3.Error as error:
                log.error("%d rows of usage are lost: %s", len(changes), error)

    def spent(self, user: str, since: float) -> list[tuple[float, int]]:
        """List the tokens that a user has spent, as (time, tokens), the oldest first."""
        return self._read(
            """SELECT min(time), sum(prompt_tokens + generated_tokens) FROM usage
            WHERE user = ? AND time > ? GROUP BY CAST(time / ? AS INTEGER) ORDER BY 1""",
            (user, since, SECONDS_OF_A_PART),
        )

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

    def days(self, since: float) -> list[tuple[Any, ...]]:
        """List (day, user, groups, model, path, requests, tokens…) for a table."""
        return self._read(
            f"""SELECT date(time, 'unixepoch'), user, groups, model, path, {SUMS}
            FROM usage WHERE time > ? GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 4, 5""",
            (since,),
        )

    def blocked(self) -> set[str]:
        """Return the users who are blocked."""
        return {user for (user,) in self._read("SELECT user FROM blocked", ())}

    def block(self, user: str, blocked: bool) -> None:
        """Write down, soon, that a user is blocked or no longer so."""
        change = "INSERT OR IGNORE INTO blocked VALUES (?)"
        self._changes.put((change if blocked else "DELETE FROM blocked WHERE user = ?", (user,)))

    def _read(self, query: str, arguments: Iterable[Any]) -> list[Any]:
        with closing(self._connect()) as connection:
            return connection.execute(query, tuple(arguments)).fetchall()
