"""The cache of row answers on disk."""

from __future__ import annotations

import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import jupyter_ollama_magics.accessor  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows.disk_cache import DiskCache
from pydantic import BaseModel
from row_server import RowServer, application


class Size(BaseModel):
    n: int


@pytest.fixture
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RowServer:
    """The server that the accessors find, with its own model; the cache is in ``tmp_path``."""
    server = RowServer()
    server.models[0]["digest"] = secrets.token_hex(32)
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return server


def test_no_row_is_sent_twice(echo: RowServer, tmp_path: Path) -> None:
    assert pd.Series(["secret", "b"]).ollama.chat(cache=True).tolist() == ["SECRET", "B"]
    assert pd.Series(["b", None, "c"]).ollama.chat(cache=True).dropna().tolist() == ["B", "C"]
    assert echo.sent() == {"secret": 1, "b": 1, "c": 1}
    file = tmp_path / "jupyter-ollama" / "rows.sqlite"
    assert file.stat().st_mode & 0o77 == 0
    assert b"secret" not in file.read_bytes()
    pd.Series(["b"]).ollama.chat()
    assert echo.sent()["b"] == 2


def test_the_key_holds_all_that_an_answer_depends_on(echo: RowServer) -> None:
    text = pd.Series(["b"])
    calls = [
        lambda: text.ollama.chat(cache=True),
        lambda: text.ollama.chat(cache=True, system="Be short."),
        lambda: text.ollama.chat(cache=True, options={"seed": 1}),
        lambda: text.ollama.chat(cache=True, options={"seed": 2}),
        lambda: text.ollama.chat("Say: {}", cache=True),
    ]
    for number, call in enumerate(calls, 1):
        call()
        call()
        assert len(echo.bodies) == number
    echo.models[0]["digest"] = "e" * 64
    calls[0]()
    assert len(echo.bodies) == len(calls) + 1


def test_answers_are_read_again_and_invalid_ones_are_not_kept(echo: RowServer) -> None:
    echo.answer = lambda text: f'{{"n": {text}}}'
    texts = pd.Series(["7", '"x"'])
    for _ in range(2):
        found = texts.ollama.chat(schema=Size, errors="coerce", cache=True)
        assert found.tolist() == [Size(n=7), None]
    assert echo.sent() == {"7": 1, '"x"': 2}


def test_vectors(echo: RowServer) -> None:
    echo.models[0]["capabilities"] = ["embedding"]
    first = pd.Series(["ab", "c"]).ollama.embed(cache=True)
    again = pd.Series(["c", "ab"]).ollama.embed(cache=True)
    assert len(echo.bodies) == 1
    assert first.dtype == again.dtype
    assert np.array_equal(np.stack(first), np.stack(again)[::-1])


def test_an_error_keeps_the_answers(echo: RowServer, tmp_path: Path) -> None:
    texts = pd.Series([*(f"row {number}" for number in range(40)), "bad"])
    with pytest.raises(OllamaMagicsError, match="row 40"):
        texts.ollama.chat(cache=tmp_path / "a.sqlite")
    code = f"""
import jupyter_ollama_magics.accessor, pandas as pd
texts = pd.Series([f"row {{number}}" for number in range(40)])
print(texts.ollama.chat(cache={str(tmp_path / "a.sqlite")!r}).iloc[-1])
"""
    # The answers that arrive with the error or after it are not read.
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as file:
        (kept,) = file.execute("SELECT count(*) FROM answers").fetchone()
    assert kept
    before = len(echo.bodies)
    # Another process does not have the answers in this one's memory.
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "ROW 39\n"
    assert len(echo.bodies) - before == 40 - kept


def test_an_invalid_file_causes_only_a_warning(echo: RowServer, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but longer than the header of one" * 9)
    with pytest.warns(UserWarning, match=r"notes\.txt is left alone"):
        assert pd.Series(["b"]).ollama.chat(cache=file).tolist() == ["B"]
    assert file.read_text().startswith("not a database")


def test_the_oldest_answers_are_removed_at_the_size_limit(tmp_path: Path) -> None:
    file = tmp_path / "small.sqlite"
    texts = [f"{number:04}" for number in range(1000)]
    for start in range(0, 1000, 50):
        with DiskCache(file, "q", most_bytes=200_000) as cache:
            cache.add({text: text * 250 for text in texts[start : start + 50]})
    with DiskCache(file, "another") as cache:
        assert cache.known(texts) == {}
    with DiskCache(file, "q") as cache:
        known = cache.known(texts)
    assert file.stat().st_size < 400_000
    assert 50 < len(known) < 250
    assert set(known) == set(texts[-len(known) :])
    assert known["0999"] == "0999" * 250


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    file = tmp_path / "shared.sqlite"
    code = f"""
import sys
from pathlib import Path
from jupyter_ollama_magics.rows import disk_cache
disk_cache.WRITE_EVERY = 0
with disk_cache.DiskCache(Path({str(file)!r}), "q") as cache:
    for number in range(100):
        cache.add({{f"{{sys.argv[1]}} {{number}}": "answer"}})
"""
    command = [sys.executable, "-W", "error", "-c", code]
    writers = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT count(*) FROM answers").fetchone() == (200,)
