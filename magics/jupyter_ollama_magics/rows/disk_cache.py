"""The cache of the answers to rows: an SQLite file that several processes may share.

A key is the hash of everything an answer depends on, so the file holds no question. Answers are
JSON or float32 vectors; reading them runs no code.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from ..failures import OllamaMagicsError

MOST_BYTES = 1 << 30
"""The largest file; beyond it, the oldest quarter of the answers is deleted."""

KEYS_AT_ONCE = 500
LOCK_TIMEOUT = 30.0
WRITE_EVERY = 1.0

_TABLE = "CREATE TABLE IF NOT EXISTS answers (id INTEGER PRIMARY KEY, key BLOB UNIQUE, answer)"
_OLDEST = """DELETE FROM answers WHERE id IN
    (SELECT id FROM answers ORDER BY id LIMIT (SELECT count(*) / 4 + 1 FROM answers))"""


def default_path() -> Path:
    """Return the default file of a user."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder, "jupyter-ollama", "rows.sqlite")


def cache_file(cache: Any) -> Path | None:
    """Return the file of an argument ``cache``. Raises OllamaMagicsError."""
    if not isinstance(cache, bool | str | Path) or cache == "":
        raise OllamaMagicsError("cache is True, False or the name of a file.")
    return default_path() if cache is True else Path(cache) if cache else None


class DiskCache:
    """The cached answers to one ``question``, by the text of the row.

    A file that cannot be used causes a warning and no failure. Open and use it in one thread.
    """

    def __init__(self, path: Path, question: str, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._question = hashlib.sha256(question.encode()).digest()
        self._most_bytes = most_bytes
        self._waiting: dict[bytes, Any] = {}
        self._written = 0.0
        self._file: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        with self._excused():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Answers may reveal private data, so only the owner may read them.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._file = sqlite3.connect(self.path, timeout=LOCK_TIMEOUT)
            self._file.execute(_TABLE)
        return self

    def __exit__(self, *error: Any) -> None:
        self._write()
        if self._file is not None:
            self._file.close()
        self._file = None

    def known(self, texts: Iterable[str]) -> dict[str, Any]:
        """Return the cached answers."""
        found: dict[str, Any] = {}
        places = {self._key(text): text for text in texts}
        keys = list(places)
        with self._excused() as file:
            if file is None:
                return found
            for start in range(0, len(keys), KEYS_AT_ONCE):
                some = keys[start : start + KEYS_AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, answer FROM answers WHERE key IN ({marks})"
                found |= {places[key]: _read(answer) for key, answer in file.execute(query, some)}
        return found

    def add(self, answers: Mapping[str, Any]) -> None:
        """Add answers. They are written every WRITE_EVERY seconds and when this is closed."""
        self._waiting |= {self._key(text): answer for text, answer in answers.items()}
        if time.monotonic() - self._written >= WRITE_EVERY:
            self._write()

    def _write(self) -> None:
        rows = [(key, _written(answer)) for key, answer in self._waiting.items()]
        self._waiting = {}
        with self._excused() as file:
            if file is None or not rows:
                return
            with file:
                file.executemany("INSERT OR REPLACE INTO answers (key, answer) VALUES (?, ?)", rows)
                if self._bytes(file) > self._most_bytes:
                    file.execute(_OLDEST)
        self._written = time.monotonic()

    def _bytes(self, file: sqlite3.Connection) -> int:
        def pragma(name: str) -> int:
            return int(file.execute(f"PRAGMA {name}").fetchone()[0])

        return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(self._question + text.encode("utf-8", "surrogatepass")).digest()

    @contextmanager
    def _excused(self) -> Iterator[sqlite3.Connection | None]:
        try:
            yield self._file
        except (sqlite3.Error, OSError, ValueError) as error:
            self._file = None
            warnings.warn(f"The cache {self.path} is left alone: {error}", stacklevel=4)


def _written(answer: Any) -> str | bytes:
    return json.dumps(answer) if isinstance(answer, str | list) else answer.tobytes()


def _read(answer: str | bytes) -> Any:
    if isinstance(answer, str):
        return json.loads(answer)
    import numpy as np

    return np.frombuffer(answer, np.float32)
