"""The record of batches: who has which files and batches, and the answers to their rows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from . import tables
from .database import Database
from .records import ENDS, AnswerRecord, BatchRecord, FileRecord, Status

Change = Callable[[BatchRecord], None]


class Taken(NamedTuple):
    """What a user has: numbers of files and unfinished batches, bytes, and the bytes of all."""

    files: int
    batches: int
    bytes: int
    bytes_of_all: int


class BatchStore:
    """Reads and writes the record. A result is on the disk when it is returned."""

    def __init__(self, path: Path) -> None:
        """Open or create the SQLite file. Raises OllamaError(500)."""
        self.path = path
        self._database = Database(path, tables.SCHEMA)

    def close(self) -> None:
        """Write what waits and close the file."""
        self._database.close()

    async def taken(self, user: str) -> Taken:
        """Return what a user has."""

        def read(connection: sqlite3.Connection) -> Taken:
            def number(query: str, *arguments: str) -> int:
                return int(connection.execute(query, arguments).fetchone()[0])

            return Taken(
                number("SELECT count(*) FROM files WHERE user = ?", user),
                number(tables.COUNT_UNFINISHED, user),
                number(tables.TAKEN_BYTES, user),
                number(tables.TAKEN_BYTES, ""),
            )

        return await self._database.do(read)

    async def add_file(self, file: FileRecord) -> None:
        """Record a file."""
        await self._database.do(lambda connection: tables.insert_file(connection, file))

    async def file(self, file_id: str) -> FileRecord | None:
        """Return a file."""

        def read(connection: sqlite3.Connection) -> FileRecord | None:
            query = "SELECT * FROM files WHERE id = ?"
            row = connection.execute(query, (file_id,)).fetchone()
            return tables.file_of(row) if row else None

        return await self._database.do(read)

    async def files(self, user: str) -> list[FileRecord]:
        """Return the files of a user, the newest first; of all users for ''."""

        def read(connection: sqlite3.Connection) -> list[FileRecord]:
            query = "SELECT * FROM files WHERE ? IN (user, '') ORDER BY created_at DESC, id"
            return [tables.file_of(row) for row in connection.execute(query, (user,))]

        return await self._database.do(read)

    async def remove_file(self, file_id: str) -> str:
        """Forget a file, unless a batch under way reads it: then return the id of that batch."""

        def remove(connection: sqlite3.Connection) -> str:
            using = connection.execute(tables.USING_FILE, (file_id,)).fetchone()
            if using:
                return str(using["id"])
            connection.execute("DELETE FROM files WHERE id = ?", (file_id,))
            return ""

        return await self._database.do(remove)

    async def add_batch(self, batch: BatchRecord) -> None:
        """Record a batch."""
        await self._database.do(lambda connection: tables.put_batch(connection, batch))

    async def batch(self, batch_id: str) -> BatchRecord | None:
        """Return a batch."""
        return await self._database.do(lambda connection: tables.get_batch(connection, batch_id))

    async def batches(self, user: str) -> list[BatchRecord]:
        """Return the batches of a user, the newest first; of all users for ''."""
        query = "SELECT record FROM batches WHERE ? IN (user, '') ORDER BY created_at DESC, id"
        return await self._batches(query, user)

    async def unfinished(self) -> list[BatchRecord]:
        """Return the batches that have not ended, the oldest first."""
        return await self._batches(tables.UNFINISHED_BATCHES)

    async def unsettled(self) -> list[BatchRecord]:
        """Return the batches with answers whose cost may not be recorded."""
        return await self._batches(tables.UNSETTLED_BATCHES)

    async def _batches(self, query: str, *arguments: str) -> list[BatchRecord]:
        def read(connection: sqlite3.Connection) -> list[BatchRecord]:
            return [tables.batch_of(row) for row in connection.execute(query, arguments)]

        return await self._database.do(read)

    async def change(
        self, batch_id: str, change: Change, files: tuple[FileRecord, ...] = ()
    ) -> BatchRecord | None:
        """Change a batch and add files in one transaction; return the batch as it is then."""

        def write(connection: sqlite3.Connection) -> BatchRecord | None:
            batch = tables.get_batch(connection, batch_id)
            if batch is None:
                return None
            change(batch)
            for file in files:
                tables.insert_file(connection, file)
            if batch.is_finished:
                clear = "UPDATE answers SET text = '' WHERE batch = ?"
                connection.execute(clear, (batch_id,))
            tables.put_batch(connection, batch)
            return batch

        return await self._database.do(write)

    async def add_answer(self, answer: AnswerRecord) -> BatchRecord:
        """Record the answer to a row, once, and count it; return its batch as it is then."""

        def write(connection: sqlite3.Connection) -> BatchRecord:
            batch = tables.get_batch(connection, answer.batch)
            assert batch is not None
            if not tables.insert_answer(connection, answer):
                return batch
            if answer.status < 400:
                batch.completed += 1
            else:
                batch.failed += 1
            batch.model = batch.model or answer.model
            batch.prompt_tokens += answer.prompt_tokens
            batch.cached_tokens += answer.cached_tokens
            batch.generated_tokens += answer.generated_tokens
            batch.answer_bytes += len(answer.text)
            tables.put_batch(connection, batch)
            return batch

        return await self._database.do(write)

    async def answered(self, batch_id: str) -> set[int]:
        """Return the lines of a batch that have an answer."""

        def read(connection: sqlite3.Connection) -> set[int]:
            query = "SELECT line FROM answers WHERE batch = ?"
            return {row["line"] for row in connection.execute(query, (batch_id,))}

        return await self._database.do(read)

    async def costs(self, batch_id: str) -> list[AnswerRecord]:
        """Return the answers of a batch without their texts."""

        def read(connection: sqlite3.Connection) -> list[AnswerRecord]:
            query = "SELECT *, '' AS text FROM answers WHERE batch = ? ORDER BY line"
            return [tables.answer_of(row) for row in connection.execute(query, (batch_id,))]

        return await self._database.do(read)

    def lines(self, batch_id: str) -> Iterator[tuple[int, int, bytes]]:
        """Yield (line, status, text) of all answers in order, read in the calling thread."""
        with closing(sqlite3.connect(self.path)) as connection:
            query = "SELECT line, status, text FROM answers WHERE batch = ? ORDER BY line"
            yield from connection.execute(query, (batch_id,))

    async def settle(self, batch_id: str) -> None:
        """Forget the answers of a batch that has ended and whose cost is recorded."""

        def write(connection: sqlite3.Connection) -> None:
            batch = tables.get_batch(connection, batch_id)
            if batch is not None:
                batch.settled = True
                tables.put_batch(connection, batch)
                connection.execute("DELETE FROM answers WHERE batch = ?", (batch_id,))

        await self._database.do(write)

    async def remove_expired(self, keep_seconds: float) -> list[str]:
        """Forget expired files that no batch under way reads, and old batches; return the files."""
        now = time.time()
        ended = ", ".join(f"'{status}'" for status in ENDS)

        def write(connection: sqlite3.Connection) -> list[str]:
            connection.execute(
                f"DELETE FROM batches WHERE settled = 1 AND created_at < ? AND status IN ({ended})",
                (now - keep_seconds,),
            )
            old = [row["id"] for row in connection.execute(tables.EXPIRED_FILES, (now,))]
            connection.executemany("DELETE FROM files WHERE id = ?", [(one,) for one in old])
            return old

        return await self._database.do(write)


def enter(batch: BatchRecord, status: Status) -> None:
    """Change the status of a batch and note the time."""
    batch.status = status
    batch.times[status] = time.time()
