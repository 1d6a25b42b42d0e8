"""The examples in the docstrings of an index and of other stores, run with real models."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import FunctionType
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401 - adds .ollama
import pandas as pd
import pytest
from docstring_examples import report
from jupyter_ollama_magics.search import in_chroma, in_faiss, in_lancedb
from jupyter_ollama_magics.search.fusion import fused
from jupyter_ollama_magics.search.index import SearchIndex

DOCUMENTED = [
    SearchIndex,
    SearchIndex.search,
    SearchIndex.update,
    in_chroma.add,
    in_faiss.add,
    in_lancedb.add,
    fused,
]


@pytest.mark.parametrize(
    "documented", DOCUMENTED, ids=lambda item: f"{item.__module__}.{item.__qualname__}"
)
def test_examples(
    documented: Any, chat_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    monkeypatch.setenv("ANONYMIZED_TELEMETRY", "False")  # of Chroma
    monkeypatch.chdir(tmp_path)
    own = documented.__globals__ if isinstance(documented, FunctionType) else {}
    names: dict[str, Any] = {**own, "pd": pd}
    (test,) = doctest.DocTestFinder(recurse=False).find(documented, "example", globs=names)
    assert test.examples
    assert not report(test)
