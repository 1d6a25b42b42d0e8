"""The usage file: its contents, and its recovery from locks, damage and removal."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.scheduler.account import Account
from jupyter_ollama.scheduler.request import ModelRequest
from jupyter_ollama.usage.records import Past, Since
from jupyter_ollama.usage.store import UsageStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "usage.sqlite"


def finished(
    user: str, groups: tuple[str, ...] = (), model: str = "tiny", tokens: int = 10
) -> ModelRequest:
    request = ModelRequest(Account(user), path="/api/chat", groups=groups, model=model, digest="d")
    request.begin()
    request.settle(tokens, 2, tokens * 2, 10**9)
    request.close(200)
    return request


def a_day() -> dict[str, Since]:
    return {"day": Since(time.time() - 86400, 300)}


def past(path: Path, host: str = "") -> Past:
    """Start a store and close it; return what it has read."""
    store = UsageStore(path, 90, a_day(), host)
    store.start()
    store.close()
    assert store.past is not None
    return store.past


def users(past: Past) -> set[str]:
    return {row.user for row in past.spent["day"]}


@contextmanager
def started(path: Path, keep_days: float = 90) -> Iterator[UsageStore]:
    store = UsageStore(path, keep_days)
    store.start()
    store.wait_for_past()
    yield store
    store.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file against readers and writers."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.rollback()
    connection.close()


def test_sums(path: Path) -> None:
    store = UsageStore(path, 90)
    store.start()
    for one in (
        finished("ann", ("a", "b")),
        finished("ann", ("a",), "big", 100),
        finished("bob", ("b",), tokens=1),
    ):
        store.add(one)
    store.close()
    names = ("requests", "prompt_tokens", "cached_tokens", "generated_tokens")

    def sums(by: str, user: str | None = None, since: float = 0) -> dict[str, list[int]]:
        return {row[by]: [row[name] for name in names] for row in store.sums(by, since, user)}

    assert sums("user") == {"ann": [2, 110, 4, 220], "bob": [1, 1, 2, 2]}
    assert sums("group") == {"a": [2, 110, 4, 220], "b": [2, 11, 4, 22]}
    assert sums("model") == {"big": [1, 100, 2, 200], "tiny": [2, 11, 4, 22]}
    assert sums("model", "bob") == {"tiny": [1, 1, 2, 2]}
    assert sums("model", "eve") == {}
    assert sums("user", since=time.time() + 1) == {}
    assert [row[1:5] for row in store.days(0)] == [
        ("ann", '["a"]', "big", "/api/chat"),
        ("ann", '["a", "b"]', "tiny", "/api/chat"),
        ("bob", '["b"]', "tiny", "/api/chat"),
    ]


def test_budgets_are_read_at_the_start(path: Path) -> None:
    with started(path) as store:
        for _ in range(3):
            store.add(finished("ann", tokens=100))
        store.add(finished("bob"))
    found = past(path).spent["day"]
    assert {row.user: (row.groups, row.model, row.tokens) for row in found} == {
        "ann": ((), "tiny", 900),
        "bob": ((), "tiny", 30),
    }
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE usage SET time = time - 2 * 86400 WHERE user = 'ann'")
    assert users(past(path)) == {"bob"}


def test_old_rows_are_removed(path: Path) -> None:
    with started(path, 1) as store:
        store.add(finished("ann"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE usage SET time = time - 2 * 86400")
    with started(path, 1) as store:
        store.add(finished("bob"))
    assert [row["user"] for row in store.sums("user", 0)] == ["bob"]


def test_two_servers_share_a_file(path: Path) -> None:
    stores = [UsageStore(path, 90) for _ in range(2)]

    def add(store: UsageStore) -> None:
        store.start()
        for _ in range(200):
            store.add(finished("ann"))
        store.close()

    threads = [threading.Thread(target=add, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (row,) = UsageStore(path, 90).sums("user", 0)
    assert row["requests"] == 400


def test_other_users_cannot_read_the_file(path: Path) -> None:
    with started(path):
        pass
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_rows_that_cannot_be_written_by_the_end_are_reported(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(path) as store:
        path.unlink()
        path.mkdir()
        store.add(finished("ann"))
    assert "1 rows of usage are lost" in caplog.text


def test_a_removed_file_is_created_again(path: Path) -> None:
    with started(path) as store:
        store.block("eve", True)
        store.add(finished("ann"))
        wait_for(lambda: rows(path) == 1)
        for one in path.parent.iterdir():
            one.unlink()
        store.add(finished("bob"))
    assert [row["user"] for row in store.sums("user", 0)] == ["bob"]
    assert past(path).blocked == {"eve"}


@pytest.mark.parametrize("when", ["before the start", "while it is used"])
def test_a_damaged_file_is_kept_and_replaced(
    path: Path, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    garbage = b"no database " * 1000
    path.parent.mkdir()
    if when == "before the start":
        path.write_bytes(garbage)
    with started(path) as store:
        if when == "while it is used":
            for one in path.parent.iterdir():
                one.unlink()
            path.write_bytes(garbage)
        store.add(finished("ann"))
    (aside,) = path.parent.glob("usage.sqlite.damaged-*")
    assert aside.read_bytes() == garbage
    assert [row["user"] for row in store.sums("user", 0)] == ["ann"]
    assert "it is kept as usage.sqlite.damaged-" in caplog.text


def test_rows_wait_for_a_locked_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_ollama.usage.store.READ_SECONDS", 0.1)
    monkeypatch.setattr("jupyter_ollama.usage.store.LOCKED_SECONDS", 0.1)
    monkeypatch.setattr("jupyter_ollama.usage.store.RETRY_SECONDS", 0.1)
    with started(path) as store:
        store.add(finished("ann", tokens=100))
        store.block("eve", True)
    store = UsageStore(path, 90, a_day())
    with locked(path):
        store.start()
        store.wait_for_past()
        store.add(finished("bob"))
        with pytest.raises(OllamaError, match="cannot be read now: database is locked") as caught:
            store.sums("user", 0)
        assert caught.value.status == 503
        assert store.past is None
    wait_for(lambda: store.past is not None)
    assert users(store.past) == {"ann"}
    assert store.past.blocked == {"eve"}
    store.close()
    assert {row["user"] for row in store.sums("user", 0)} == {"ann", "bob"}


def rows(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM usage").fetchone()[0])


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds, half a minute at most."""
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    assert holds()


def test_blocked_users(path: Path) -> None:
    with started(path) as store:
        store.block("ann", True)
        store.block("ann", True)
        store.block("bob", True)
        store.block("bob", False)
    assert past(path).blocked == {"ann"}


def test_a_request_is_one_row_however_often_it_is_added(path: Path) -> None:
    request = finished("ann")
    written = threading.Event()
    with started(path) as store:
        store.add(request, written.set)
        assert written.wait(10)
        assert rows(path) == 1
        request.generated_tokens += 5
        request.status = 499
        store.add(request)
    (row,) = store.sums("user", 0)
    assert (row["requests"], row["generated_tokens"]) == (1, 25)


def test_a_file_of_an_earlier_version_gets_its_columns(path: Path) -> None:
    columns = (
        "time REAL, user TEXT, groups TEXT, model TEXT, digest TEXT, path TEXT, status INTEGER"
    )
    numbers = "prompt_tokens, cached_tokens, generated_tokens, waited_ms, total_ms"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE usage ({columns}, {numbers})")
        old = (time.time(), "ann", "[]", "tiny", "d", "/api/chat", 200, 1, 0, 2, 3, 4)
        connection.execute(f"INSERT INTO usage VALUES ({', '.join('?' * 12)})", old)
        connection.commit()
    with started(path) as store:
        store.add(finished("bob"))
    assert users(past(path)) == {"ann", "bob"}


def test_a_host_reads_its_own_rows(path: Path) -> None:
    for host in ("one", "two"):
        store = UsageStore(path, 90, a_day(), host)
        store.start()
        store.add(finished(f"user of {host}"))
        store.close()
    assert users(past(path, "one")) == {"user of one"}
    assert users(past(path)) == {"user of one", "user of two"}


def test_rows_of_a_long_term_are_kept(path: Path) -> None:
    with started(path) as store:
        store.add(finished("ann"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE usage SET time = time - 100 * 86400")
        connection.commit()
    store = UsageStore(path, 90, {"term": Since(time.time() - 150 * 86400, time.time())})
    store.start()
    store.close()
    assert store.past is not None
    assert [row.tokens for row in store.past.spent["term"]] == [30]
    with started(path):
        pass
    assert rows(path) == 0


def test_limits_until_a_date_are_kept(path: Path) -> None:
    with started(path) as store:
        store.override("limits user:ann", "{}")
        store.override("limits user:bob", "{}")
        store.override("limits user:bob", "")
    assert past(path).overrides == {"limits user:ann": "{}"}
