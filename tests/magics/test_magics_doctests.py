"""The examples in the docstrings of the client and the magics, run with real models."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import jupyter_ollama_magics
import pandas as pd
import pytest
from docstring_examples import report
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_client import Client
from jupyter_ollama_magics import Job
from jupyter_ollama_magics.magics import OllamaMagics
from jupyter_ollama_magics.result import ChatResult
from jupyter_ollama_magics.widgets.chat import Chat
from jupyter_ollama_magics.widgets.models import ModelManager
from jupyter_ollama_magics.widgets.pull import PullProgress

CLIENT = ("addresses", "client", "discovery", "modelfile", "readable")
MAGICS = (
    OllamaMagics.chat,
    OllamaMagics.embed,
    OllamaMagics.ollama,
    ChatResult,
    Chat,
    ModelManager,
    PullProgress,
    Job.load,
    Job.wait,
    Job.frame,
    jupyter_ollama_magics.endpoint,
    jupyter_ollama_magics.open_index,
    jupyter_ollama_magics.similarity,
)


class MagicParser(doctest.DocTestParser):
    """Parses examples in which ``>>>`` stands for the prompt of IPython."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def parse(self, string: str, name: str = "<string>") -> list[Any]:
        parts = super().parse(string, name)
        for part in parts:
            if isinstance(part, doctest.Example):
                source = self._shell.transform_cell(part.source)
                # IPython shows an answer once; Python would print the result, too.
                shows = source.startswith("get_ipython().run_cell_magic")
                part.source = f"_ = {source}" if shows else source
        return parts


@pytest.fixture
def names(
    chat_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """The names that all examples may use: the real server and a client of it."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    monkeypatch.chdir(tmp_path)
    client = Client(chat_server)
    yield {"url": chat_server, "client": client, "pd": pd, "Job": Job}
    client.close()


@pytest.mark.parametrize("name", CLIENT)
def test_client(name: str, names: dict[str, Any]) -> None:
    module: ModuleType = import_module(f"jupyter_ollama_client.{name}")
    tests = doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=names)
    tests = [test for test in tests if test.examples]
    assert tests
    for test in tests:
        assert not report(test)


@pytest.mark.parametrize("documented", MAGICS, ids=lambda item: item.__qualname__)
def test_magics(documented: Any, names: dict[str, Any], chat_shell: InteractiveShell) -> None:
    names["get_ipython"] = lambda: chat_shell
    chat_shell.user_ns.update(names)
    finder = doctest.DocTestFinder(parser=MagicParser(chat_shell), recurse=False)
    (test,) = finder.find(documented, globs={})
    assert test.examples
    test.globs = chat_shell.user_ns  # magics set variables of the shell
    assert not report(test)
