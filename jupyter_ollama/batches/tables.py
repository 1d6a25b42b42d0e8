"""The tables of batches: their statements, and rows of them as records."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from .records import UNFINISHED, AnswerRecord, BatchRecord, FileRecord

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id TEXT PRIMARY KEY, user TEXT NOT NULL, purpose TEXT NOT NULL, filename TEXT NOT NULL,
    bytes INTEGER NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS files_of_user ON files (user, created_at);
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, user TEXT NOT NULL, status TEXT NOT NULL, created_at REAL NOT NULL,
    settled INTEGER NOT NULL, answer_bytes INTEGER NOT NULL, input_file TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS batches_of_user ON batches (user, created_at);
CREATE TABLE IF NOT EXISTS answers (
    batch TEXT NOT NULL, line INTEGER NOT NULL, status INTEGER NOT NULL, text BLOB NOT NULL,
    model TEXT NOT NULL, digest TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, generated_tokens INTEGER NOT NULL, waited REAL NOT NULL,
    seconds REAL NOT NULL, time REAL NOT NULL, PRIMARY KEY (batch, line)
);
"""

_FILE = FileRecord.__struct_fields__
_ANSWER = AnswerRecord.__struct_fields__
INSERT_FILE = f"INSERT INTO files ({', '.join(_FILE)}) VALUES ({', '.join('?' * len(_FILE))})"
INSERT_ANSWER = (
    f"INSERT OR IGNORE INTO answers ({', '.join(_ANSWER)}) VALUES ({', '.join('?' * len(_ANSWER))})"
)
PUT_BATCH = "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OPEN = ", ".join(f"'{status}'" for status in UNFINISHED)
UNFINISHED_BATCHES = f"SELECT record FROM batches WHERE status IN ({_OPEN}) ORDER BY created_at"
UNSETTLED_BATCHES = "SELECT record FROM batches WHERE settled = 0 ORDER BY created_at"
COUNT_UNFINISHED = f"SELECT count(*) FROM batches WHERE user = ? AND status IN ({_OPEN})"
USING_FILE = f"SELECT id FROM batches WHERE input_file = ? AND status IN ({_OPEN})"
EXPIRED_FILES = f"""SELECT id FROM files WHERE expires_at < ? AND id NOT IN
    (SELECT input_file FROM batches WHERE status IN ({_OPEN}))"""
TAKEN_BYTES = """SELECT
    (SELECT coalesce(sum(bytes), 0) FROM files WHERE ?1 IN (user, ''))
    + (SELECT coalesce(sum(answer_bytes), 0) FROM batches WHERE ?1 IN (user, ''))"""
"""The bytes of the files and answers of a user, of all users for ''."""

_decoder = msgspec.json.Decoder(BatchRecord)


def insert_file(connection: sqlite3.Connection, file: FileRecord) -> None:
    """Add a file."""
    connection.execute(INSERT_FILE, msgspec.structs.astuple(file))


def insert_answer(connection: sqlite3.Connection, answer: AnswerRecord) -> bool:
    """Add an answer; return False if the row has one."""
    values = msgspec.structs.astuple(answer)
    return connection.execute(INSERT_ANSWER, values).rowcount > 0


def file_of(row: sqlite3.Row) -> FileRecord:
    """Return the file of a row."""
    return FileRecord(**dict(row))


def answer_of(row: sqlite3.Row) -> AnswerRecord:
    """Return the answer of a row."""
    return AnswerRecord(**dict(row))


def put_batch(connection: sqlite3.Connection, batch: BatchRecord) -> None:
    """Add a batch, or replace it."""
    columns: tuple[Any, ...] = (
        batch.id,
        batch.user,
        str(batch.status),
        batch.created_at,
        batch.settled,
        batch.answer_bytes,
        batch.input_file,
        msgspec.json.encode(batch),
    )
    connection.execute(PUT_BATCH, columns)


def get_batch(connection: sqlite3.Connection, batch_id: str) -> BatchRecord | None:
    """Return a batch, None if there is none of the id."""
    query = "SELECT record FROM batches WHERE id = ?"
    row = connection.execute(query, (batch_id,)).fetchone()
    return batch_of(row) if row else None


def batch_of(row: sqlite3.Row) -> BatchRecord:
    """Return the batch of a row that has its record."""
    return _decoder.decode(row["record"])
