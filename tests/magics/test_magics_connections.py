"""Connections are closed at the end of the call or the object that opened them."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.partitions import OllamaRows
from jupyter_ollama_magics.widgets import Chat, ModelManager, PullProgress
from row_server import RowServer
from scripted_server import ScriptedServer
from widget_tree import texts, until

ROWS = pd.Series(["x", "y", "bad"])


def opened_to(url: str) -> int:
    """Return the number of open sockets of this process that are connected to a server."""
    port = urlsplit(url).port
    connections = psutil.Process().net_connections("tcp")
    return sum(1 for one in connections if one.raddr and one.raddr.port == port)


@contextmanager
def all_closed_to(url: str) -> Iterator[None]:
    """Check that a block leaves no socket to a server open, nor to the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            yield
        assert opened_to(url) == 0
        assert [one for one in caught if one.category is ResourceWarning] == []
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "call",
    [
        lambda url: ROWS.head(2).ollama.chat(),
        lambda url: ROWS.head(2).ollama.at(url).chat(),
        lambda url: asyncio.run(ROWS.head(2).ollama.achat()),
        lambda url: OllamaRows("chat", endpoints=[url])(ROWS.head(2)),
        lambda url: ROWS.ollama.chat(errors="coerce"),
    ],
)
def test_an_accessor_closes_its_connections(
    pair: list[tuple[RowServer, str]], monkeypatch: pytest.MonkeyPatch, call: Callable[[str], Any]
) -> None:
    _, url = pair[0]
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", url)
    with all_closed_to(url):
        assert call(url).tolist()[:2] == ["X", "Y"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: ROWS.ollama.chat(),
        lambda: asyncio.run(ROWS.ollama.achat()),
        lambda: ROWS.ollama.embed(model="missing"),
        lambda: asyncio.run(ROWS.ollama.aembed(model="missing")),
    ],
)
def test_a_failed_call_closes_its_connections(
    pair: list[tuple[RowServer, str]], monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]
) -> None:
    _, url = pair[0]
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", url)
    with all_closed_to(url), pytest.raises(OllamaMagicsError):
        call()


def test_the_connection_of_the_magics_stays_open(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    shell.run_line_magic("ollama", "list")
    with pytest.raises(OllamaMagicsError):
        ROWS.ollama.chat(model="missing")
    assert opened_to(server.url) == 1
    shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
    assert opened_to(server.url) == 0
    shell.run_line_magic("load_ext", "jupyter_ollama_magics")


def test_closed_widgets_close_their_connections(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)
    manager, chat = ModelManager(), Chat()
    until(lambda: "smollm2:135m" in texts(manager))
    chat.ask("Hi")
    until(lambda: chat.exchanges and chat.exchanges[-1]["text"] and not chat.busy)
    assert opened_to(server.url) > 0
    manager.close()
    chat.close()
    until(lambda: opened_to(server.url) == 0)


def test_a_failed_pull_closes_its_connections(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)
    server.failure = (404, "application/json", '{"error": "model \'x\' not found"}')
    pull = PullProgress("x")
    until(lambda: pull.state == "failed")
    until(lambda: opened_to(server.url) == 0)
