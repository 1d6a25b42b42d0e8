"""The examples in the docstrings of .ollama, run with real models."""

from __future__ import annotations

import doctest
from typing import Any

import jupyter_ollama_magics.accessor
import jupyter_ollama_magics.polars_frame  # noqa: F401 - adds .ollama
import pandas as pd
import polars as pl
import pytest
from docstring_examples import report
from jupyter_ollama_magics import duckdb_functions
from jupyter_ollama_magics.accessor import FrameRows, SeriesRows
from jupyter_ollama_magics.in_polars.methods import PolarsRows
from jupyter_ollama_magics.partitions import OllamaRows

TWINS = {f"a{name}" for name in dir(SeriesRows) if name[0] != "_"}
METHODS = [
    getattr(owner, name)
    for owner in (SeriesRows, FrameRows)
    for name in sorted(dir(owner))
    if name[0] != "_" and name not in TWINS
]
OTHERS = [OllamaRows, PolarsRows.at, duckdb_functions]
DOCUMENTED = {item.__qualname__: item for item in [*METHODS, *OTHERS]}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_examples(name: str, chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    names: dict[str, Any] = {"pd": pd, "pl": pl, "url": chat_server}
    names |= {item.__name__: item for item in (OllamaRows, duckdb_functions)}
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(DOCUMENTED[name], name, globs=names)
    assert test.examples
    assert not report(test)
