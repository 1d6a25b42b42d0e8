"""The record of usage: what is in the file, and what becomes of it."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from jupyter_ollama.scheduler.ticket import Account, Ticket
from jupyter_ollama.usage.store import UsageStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "usage.sqlite"


def ticket(
    user: str, groups: tuple[str, ...] = (), model: str = "tiny", tokens: int = 10
) -> Ticket:
    made = Ticket(Account(user), path="/api/chat", groups=groups, model=model, digest="d")
    made.begin()
    made.settle(tokens, 2, tokens * 2, 10**9)
    made.close(200)
    return made


def test_sums(path: Path) -> None:
    store = UsageStore(path, 90)
    for one in (
        ticket("ann", ("a", "b")),
        ticket("ann", ("a",), "big", 100),
        ticket("bob", ("b",), tokens=1),
    ):
        store.add(one)
    store.close()
    store = UsageStore(path, 90)
    names = ("requests", "prompt_tokens", "cached_tokens", "generated_tokens")

    def sums(by: str, user: str | None = None, since: float = 0) -> dict[str, list[int]]:
        return {row[by]: [row[name] for name in names] for row in store.sums(by, since, user)}

    assert sums("user") == {"ann": [2, 110, 4, 220], "bob": [1, 1, 2, 2]}
    assert sums("group") == {"a": [2, 110, 4, 220], "b": [2, 11, 4, 22]}
    assert sums("model") == {"big": [1, 100, 2, 200], "tiny": [2, 11, 4, 22]}
    assert sums("model", "bob") == {"tiny": [1, 1, 2, 2]}
    assert sums("model", "eve") == {}
    assert sums("user", since=time.time() + 1) == {}
    assert [tokens for _, tokens in store.spent("ann", 0)] == [330]
    assert store.spent("ann", time.time() + 1) == []
    assert [row[1:5] for row in store.days(0)] == [
        ("ann", '["a"]', "big", "/api/chat"),
        ("ann", '["a", "b"]', "tiny", "/api/chat"),
        ("bob", '["b"]', "tiny", "/api/chat"),
    ]
    store.close()


def test_old_rows_go(path: Path) -> None:
    store = UsageStore(path, 1)
    store.add(ticket("ann"))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE usage SET time = time - 2 * 86400")
    store = UsageStore(path, 1)
    store.add(ticket("bob"))
    store.close()
    assert [row["user"] for row in UsageStore(path, 1).sums("user", 0)] == ["bob"]


def test_two_servers_share_a_file(path: Path) -> None:
    stores = [UsageStore(path, 90) for _ in range(2)]

    def add(store: UsageStore) -> None:
        for _ in range(200):
            store.add(ticket("ann"))
        store.close()

    threads = [threading.Thread(target=add, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (row,) = UsageStore(path, 90).sums("user", 0)
    assert row["requests"] == 400


def test_others_cannot_read_it(path: Path) -> None:
    UsageStore(path, 90).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_lost_file_stops_nobody(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = UsageStore(path, 90)
    path.unlink()
    path.mkdir()
    store.add(ticket("ann"))
    store.close()
    assert "rows of usage are lost" in caplog.text


def test_blocked_users(path: Path) -> None:
    store = UsageStore(path, 90)
    store.block("ann", True)
    store.block("ann", True)
    store.block("bob", True)
    store.block("bob", False)
    store.close()
    assert UsageStore(path, 90).blocked() == {"ann"}
