"""Short connections to a DuckDB file, so that several kernels may use it.

DuckDB locks a file as long as a connection is open. A connection here is open for one read or one
transaction, and waits for those of other processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..failures import OllamaMagicsError

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process."""
POLL_SECONDS = 0.05
CONFIG = {"python_enable_replacements": False}
"""Names in SQL are those of tables, never of variables of Python."""

_locks: dict[Path | None, threading.RLock] = {}
"""Threads of this process take turns: DuckDB refuses connections of two modes at a time."""


class DuckDBFile:
    """A database in a file, or in memory if ``path`` is None."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._memory = None if path else _duckdb().connect(config=CONFIG)
        self._lock = _locks.setdefault(path, threading.RLock()) if path else threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Yield a connection that cannot change a file."""
        with self._lock, _explained(self.path):
            connection = self._memory or self._open(read_only=True)
            try:
                yield connection
            finally:
                if connection is not self._memory:
                    connection.close()

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Yield a connection within a transaction; an exception rolls it back."""
        with self._lock, _explained(self.path):
            connection = self._memory or self._open(read_only=False)
            try:
                connection.execute("BEGIN")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
            finally:
                if connection is not self._memory:
                    connection.close()

    def stamp(self) -> tuple[int, ...]:
        """Return numbers that change when another process has changed the file."""
        if self.path is None:
            return ()
        files = (self.path, self.path.with_name(f"{self.path.name}.wal"))
        return tuple(
            number
            for file in files
            if file.exists()
            for number in (file.stat().st_mtime_ns, file.stat().st_size)
        )

    def _open(self, read_only: bool) -> Any:
        duckdb = _duckdb()
        until = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only, config=CONFIG)
            except duckdb.IOException as error:
                if "Could not set lock" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(POLL_SECONDS)


def _duckdb() -> Any:
    try:
        import duckdb
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401 - rows and vectors pass by it
    except ImportError:
        raise OllamaMagicsError(
            'An index needs duckdb and pyarrow: %pip install "jupyter-ollama-magics[search]"'
        ) from None
    return duckdb


@contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    """Raise the errors of DuckDB as an OllamaMagicsError of one line."""
    duckdb = _duckdb()
    try:
        yield
    except duckdb.Error as error:
        reason = str(error).strip().splitlines()[0]
        place = f"{path}: " if path and isinstance(error, duckdb.IOException) else ""
        raise OllamaMagicsError(f"{place}{reason}") from error
