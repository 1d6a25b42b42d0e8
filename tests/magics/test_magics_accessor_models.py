"""df.ollama and s.ollama against a real server and real models."""

from __future__ import annotations

import _thread
import asyncio
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jupyter_ollama_magics.accessor  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from cli_process import serving
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_client.client import Client
from jupyter_ollama_magics.rows.plan import RowsInterrupted

REVIEWS = pd.Series(
    ["I love it", None, "It broke at once, terrible", "I love it", "Great value"],
    index=list("vwxyz"),
    name="review",
)


@pytest.fixture(scope="module")
def address(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server process with the starter models."""
    with serving(dict(os.environ), ollama_store, tmp_path_factory.mktemp("served")) as served:
        yield f"http://{served.host}"


@pytest.fixture(autouse=True)
def url(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the accessors to the server."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", address)
    return address


def test_vectors_equal_those_of_the_magic() -> None:
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "jupyter_ollama_magics")
    shell.push({"reviews": REVIEWS})
    expected = shell.run_line_magic("embed", "reviews")
    shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
    InteractiveShell.clear_instance()
    pd.testing.assert_frame_equal(REVIEWS.ollama.embed(expand=True), expected)
    column = REVIEWS.ollama.embed()
    assert str(column.dtype) == "fixed_size_list<item: float>[384][pyarrow]"
    assert (column.name, column.index.tolist()) == ("review", list("vwxyz"))
    assert column.isna().tolist() == [False, True, False, False, False]
    assert np.array_equal(np.stack(column.dropna()), expected.dropna().to_numpy())
    awaited = asyncio.run(REVIEWS.ollama.aembed(dimensions=64))
    assert str(awaited.dtype) == "fixed_size_list<item: float>[64][pyarrow]"


def test_similar() -> None:
    texts = pd.Series(["A cat sleeps", None, "Stocks fell today", "The kitten naps"])
    best = texts.ollama.similar("a sleeping cat", k=2)
    assert best.index.tolist() == [0, 3]
    assert best["similarity"].is_monotonic_decreasing
    frame = pd.DataFrame({"id": range(4), "text": texts, "vector": texts.ollama.embed()})
    again = frame.ollama.similar("a sleeping cat", "vector", k=2)
    assert again.columns.tolist() == ["id", "text", "vector", "similarity"]
    assert again["id"].tolist() == [0, 3]
    assert again["similarity"].tolist() == pytest.approx(best["similarity"].tolist(), abs=1e-6)
    assert len(texts.ollama.similar("anything", k=99)) == 3


def test_chat_by_row() -> None:
    frame = pd.DataFrame({"word": ["one", "two"], "other": ["x", None]})
    answers = frame.ollama.chat("Say {word}", options={"temperature": 0, "num_predict": 8})
    assert answers.str.len().gt(0).all()
    assert frame.ollama.chat("{word} {other}", options={"num_predict": 4}).isna()[1]


def test_classify_gives_labels_only() -> None:
    labels = ["positive", "negative"]
    found = REVIEWS.ollama.classify(labels)
    assert found.dtype == pd.CategoricalDtype(labels)
    assert found.isna().tolist() == [False, True, False, False, False]
    assert found["v"] == found["y"]
    odds = REVIEWS.ollama.classify(labels, probabilities=True)
    assert odds.columns.tolist() == labels
    assert odds.isna().all(axis=1).tolist() == [False, True, False, False, False]
    assert odds.dropna().sum(axis=1).tolist() == pytest.approx([1] * 4)
    # A label with a high probability is the one that the model gives.
    sure = odds.max(axis=1) > 0.8
    assert sure.any()
    assert odds[sure].idxmax(axis=1).tolist() == found[sure].tolist()


def test_extract_gives_the_types_of_the_schema() -> None:
    @dataclass
    class Review:
        mood: Literal["good", "bad"]
        stars: int
        recommended: bool

    frame = REVIEWS.ollama.extract(Review, options={"num_predict": 100})
    assert frame["mood"].dtype == pd.CategoricalDtype(["good", "bad"])
    assert frame["stars"].dtype == "Int64"
    assert frame["recommended"].dtype == "boolean"
    assert frame.isna().all(axis=1).tolist() == [False, True, False, False, False]
    cut = REVIEWS.ollama.extract(Review, options={"num_predict": 3}, errors="column")
    assert cut["error"].str.contains("cut off").tolist()[0] is True


def test_interrupt_frees_the_server(url: str) -> None:
    texts = pd.Series([f"Tell a long story of {number} mice" for number in range(64)])
    threading.Timer(1.5, _thread.interrupt_main).start()
    began = time.monotonic()
    with pytest.raises(RowsInterrupted, match="of 64 rows are done and kept"):
        texts.ollama.chat(options={"num_predict": 2000})
    assert time.monotonic() - began < 30
    client = Client(url)
    # 64 stories of 2,000 tokens would take minutes.
    answer = list(client.generate("smollm2", "Hi", options={"num_predict": 4}))
    assert answer[-1]["done"]
    client.close()
