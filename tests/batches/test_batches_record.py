"""The record of batches on the disk, and the cost of answers in the record of usage."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from jupyter_ollama.batches.database import Database
from jupyter_ollama.batches.folder import BatchFolder
from jupyter_ollama.batches.records import AnswerRecord, BatchRecord, Status
from jupyter_ollama.batches.settlement import AnsweredRow, record_missing, settle
from jupyter_ollama.batches.store import BatchStore, enter
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.scheduler.admission import Admission
from jupyter_ollama.sharing import Sharing
from jupyter_ollama.usage.store import UsageStore

TABLE = "CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)"


def batch(**fields: Any) -> BatchRecord:
    given = {"id": "batch_1", "user": "ann", "groups": ("students",), "endpoint": "/api/chat"}
    given |= {"input_file": "file-1", "window": "24h", "expires_at": 9e9, "keep_seconds": 60.0}
    return BatchRecord(**(given | fields))


def answer(line: int, status: int = 200, tokens: int = 10) -> AnswerRecord:
    return AnswerRecord(
        batch="batch_1",
        line=line,
        status=status,
        text=b'{"line": %d}' % line,
        model="tiny",
        digest="d",
        prompt_tokens=tokens,
        cached_tokens=1,
        generated_tokens=2 * tokens,
    )


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[BatchStore]:
    store = BatchStore(path)
    try:
        yield store
    finally:
        store.close()


def insert(number: int) -> Any:
    return lambda connection: connection.execute("INSERT INTO numbers VALUES (?)", (number,))


async def test_what_fails_undoes_itself_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", TABLE)
    work = [database.do(insert(number)) for number in (1, 2, 2, 3)]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert [isinstance(one, OllamaError) for one in results] == [False, False, True, False]
    database.close()
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as connection:
        assert connection.execute("SELECT number FROM numbers").fetchall() == [(1,), (2,), (3,)]


async def test_a_full_disk_is_an_error_and_later_it_is_not(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.sqlite") as store:
        await store.add_batch(batch())
        await store._database.do(
            lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall()
        )
        large = answer(1)
        large.text = b"x" * 100_000
        with pytest.raises(OllamaError, match="full"):
            await store.add_answer(large)
        assert await store.answered("batch_1") == set()
        await store._database.do(
            lambda connection: connection.execute("PRAGMA max_page_count = 1000").fetchall()
        )
        await store.add_answer(large)
        assert await store.answered("batch_1") == {1}


async def test_a_damaged_record_is_named_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(OllamaError, match="the record of batches cannot be read"):
        BatchStore(path)
    assert path.read_bytes() == b"no database" * 1000


async def test_an_answer_counts_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.sqlite") as store:
        await store.add_batch(batch())
        await store.add_answer(answer(1))
        again = await store.add_answer(answer(1, status=500))
        assert (again.completed, again.failed, again.prompt_tokens) == (1, 0, 10)
        found = await store.add_answer(answer(2, status=404))
        assert (found.completed, found.failed, found.generated_tokens) == (1, 1, 40)
    async with opened(tmp_path / "a.sqlite") as store:
        assert [line for line, _, _ in store.lines("batch_1")] == [1, 2]
        taken = await store.taken("ann")
        assert (taken.batches, taken.bytes) == (1, 2 * len(answer(1).text))
        await store.change("batch_1", lambda one: enter(one, Status.COMPLETED))
        assert [text for _, _, text in store.lines("batch_1")] == ["", ""]


def admission(tmp_path: Path) -> Admission:
    settings = Sharing(record_usage=True, usage_file=str(tmp_path / "usage.sqlite"))
    return settings.admission


def billed(tmp_path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(tmp_path / "usage.sqlite")) as connection:
        columns = "request, user, groups, path, prompt_tokens, generated_tokens"
        return connection.execute(f"SELECT {columns} FROM usage ORDER BY request").fetchall()


async def test_a_kill_between_answer_and_bill_is_made_good_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.sqlite") as store:
        await store.add_batch(batch())
        for line in (1, 2, 3):
            await store.add_answer(answer(line))
        # The server that stored three answers has recorded the cost of the second one.
        first = admission(tmp_path)
        await first.restored()
        assert first.store
        first.store.add(AnsweredRow.of(batch(), answer(2)))
        first.store.close()
        for missing in (2, 0):  # the next server, and one after it
            later = admission(tmp_path)
            await later.restored()
            assert await record_missing(later, store, batch()) == missing
            assert later.spent("ann", "day") == 90
            assert later.store
            later.store.close()
        row = ("ann", '["students"]', "/api/chat", 10, 20)
        assert billed(tmp_path) == [(f"batch_1-{line}", *row) for line in (1, 2, 3)]
        last = admission(tmp_path)
        await settle(last, store, batch())
        assert await store.answered("batch_1") == set()
        assert await store.unsettled() == []
        assert last.store
        last.store.close()


async def test_a_row_is_billed_once(tmp_path: Path) -> None:
    store = UsageStore(tmp_path / "usage.sqlite", 1e6)
    store.start()
    for line in (1, 1, 2):
        store.add(AnsweredRow.of(batch(), answer(line)))
    assert store.wait_until_written()
    assert store.recorded("batch_1-") == {"batch_1-1", "batch_1-2"}
    store.close()
    assert [row[:2] for row in billed(tmp_path)] == [("batch_1-1", "ann"), ("batch_1-2", "ann")]


def test_the_folder_is_private_and_has_whole_files_only(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path / "batches")
    with folder.new("file-1") as file:
        file.write(b"one")
        assert not folder.path("file-1").exists()
    assert folder.path("file-1").read_bytes() == b"one"
    assert folder.path("file-1").stat().st_mode & 0o077 == 0
    assert folder.root.stat().st_mode & 0o077 == 0
    with pytest.raises(ValueError, match="broken"), folder.new("file-2") as file:
        raise ValueError("broken")
    (folder.files / "file-3.abc.part").write_bytes(b"left by a kill")
    folder.remove_others({"file-1"})
    assert [path.name for path in folder.files.iterdir()] == ["file-1"]
    with pytest.raises(OllamaError, match="another server uses the folder"):
        BatchFolder(tmp_path / "batches")
    folder.close()
    BatchFolder(tmp_path / "batches").close()
