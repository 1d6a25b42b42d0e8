"""The examples in the docstrings of .ollama, run with real models."""

from __future__ import annotations

import doctest
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401 - adds .ollama
import pandas as pd
import pytest
from docstring_examples import report
from jupyter_ollama_magics.accessor import FrameRows, SeriesRows
from jupyter_ollama_magics.partitions import OllamaRows

TWINS = {f"a{name}" for name in dir(SeriesRows) if name[0] != "_"}
METHODS = [
    getattr(owner, name)
    for owner in (SeriesRows, FrameRows)
    for name in sorted(dir(owner))
    if name[0] != "_" and name not in TWINS
]
DOCUMENTED = {item.__qualname__: item for item in [*METHODS, OllamaRows]}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_examples(name: str, chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    names: dict[str, Any] = {"pd": pd, "OllamaRows": OllamaRows, "url": chat_server}
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(DOCUMENTED[name], name, globs=names)
    assert test.examples
    assert not report(test)
