"""The operators of .ollama on Dask: in the workers of a LocalCluster, with two servers."""

from __future__ import annotations

import os
import pickle
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal

import cloudpickle
import dask.dataframe as dd
import jupyter_ollama_magics.dask_frame  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from cli_process import Served, serving
from dask.dataframe.utils import make_meta
from distributed import Client as Cluster
from distributed import LocalCluster
from jupyter_ollama_client.client import Client
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.partitions import OllamaRows
from pandas.testing import assert_frame_equal, assert_series_equal
from pydantic import BaseModel
from row_server import RowServer

TOKEN = "not-for-graphs"


class Note(BaseModel):
    n: int
    kind: Literal["a", "b"]
    share: float


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two worker processes with a token in their environment."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("BULK_TOKEN", TOKEN)
        settings = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
        workers = stack.enter_context(LocalCluster(**settings))
        yield stack.enter_context(Cluster(workers))


@pytest.fixture
def frame() -> pd.DataFrame:
    texts = [None if number % 7 == 6 else f"row {number % 90}" for number in range(120)]
    index = pd.Index(range(1000, 1120), name="id")
    return pd.DataFrame({"text": texts, "n": range(120)}, index=index)


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("chat", ("Say {text} of {n}",), {}),
    ("chat", ("text",), {"into": "answer", "errors": "column"}),
    ("classify", (["yes", "no"], "text"), {"into": "label"}),
    ("extract", (Note, "text"), {}),
    ("embed", ("text",), {}),
    ("embed", ("text",), {"expand": True}),
]


@pytest.mark.parametrize(("operator", "arguments", "more"), CALLS)
def test_same_as_pandas(
    cluster: Cluster,
    pair: list[tuple[RowServer, str]],
    frame: pd.DataFrame,
    operator: str,
    arguments: tuple[Any, ...],
    more: dict[str, Any],
) -> None:
    answers = {"classify": '"yes"', "extract": '{"n": 4, "kind": "b", "share": 0.5}'}
    for server, _ in pair:
        server.answer = lambda text: answers.get(operator, text.upper())
        server.models[0]["capabilities"] = ["embedding" if operator == "embed" else "completion"]
    urls = [url for _, url in pair]
    # The last part has no text, so its dtypes cannot follow from answers.
    frame.loc[1090:, "text"] = None
    parts = dd.from_pandas(frame, npartitions=4)
    lazy = getattr(parts.ollama.at(*urls), operator)(*arguments, **more)
    found = cluster.gather(cluster.compute(lazy.to_delayed()))
    expected = getattr(parts.compute().ollama.at(*urls), operator)(*arguments, **more)
    check = assert_series_equal if isinstance(expected, pd.Series) else assert_frame_equal
    check(pd.concat(found), expected)
    for part in found:
        check(part.iloc[:0], make_meta(lazy), check_index_type=False)


def test_no_row_is_lost_with_a_server(cluster: Cluster, pair: list[tuple[RowServer, str]]) -> None:
    many = pd.Series([f"row {number}" for number in range(400)], name="text")
    pair[0][0].lost_at = 90
    rows = dd.from_pandas(many, npartitions=8).ollama.at(*(url for _, url in pair))
    result = cluster.compute(rows.chat(errors="coerce")).result()
    assert result.tolist() == [text.upper() for text in many]
    assert 0 < len(pair[0][0].answered) < 90
    assert Counter(pair[0][0].answered + pair[1][0].answered) == Counter(many)


def test_tokens_stay_with_the_workers(
    cluster: Cluster, pair: list[tuple[RowServer, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, url = pair[0]
    monkeypatch.setenv("BULK_TOKEN", TOKEN)
    rows = dd.from_pandas(pd.Series(["x", "y"]), npartitions=2).ollama
    lazy = rows.at(url, token_variable="BULK_TOKEN").chat()
    assert TOKEN.encode() not in cloudpickle.dumps(lazy)
    assert TOKEN.encode() not in cloudpickle.dumps(dict(lazy.optimize().__dask_graph__()))
    assert cluster.compute(lazy).result().tolist() == ["X", "Y"]
    assert server.tokens == {f"Bearer {TOKEN}"}


def test_the_function_alone(pair: list[tuple[RowServer, str]], frame: pd.DataFrame) -> None:
    urls = [url for _, url in pair]
    rows = OllamaRows("chat", "text", into="answer", endpoints=urls)
    again = pickle.loads(pickle.dumps(rows))
    assert_frame_equal(again(frame), frame.ollama.at(*urls).chat("text", into="answer"))
    with pytest.raises(
        OllamaMagicsError, match="There are chat, classify, embed, extract, filter, score"
    ):
        OllamaRows("similar", "x")


@pytest.fixture
def served(ollama_store: Path, tmp_path: Path) -> Iterator[list[Served]]:
    """Two server processes with the starter models."""
    with ExitStack() as stack:
        servers = []
        for name in "ab":
            folder = tmp_path / name
            folder.mkdir()
            servers.append(stack.enter_context(serving(dict(os.environ), ollama_store, folder)))
        yield servers


def test_one_of_two_real_servers_is_killed(cluster: Cluster, served: list[Served]) -> None:
    texts = pd.Series([f"Sentence number {number} of a long list" for number in range(480)])
    urls = [f"http://{server.host}" for server in served]
    # Each part is one request, to one server or the other.
    parts = dd.from_pandas(texts, npartitions=24)
    future = cluster.compute(parts.ollama.at(*urls).embed(model="all-minilm"))
    with closing(Client(urls[0])) as client:
        while not client.ps():
            time.sleep(0.02)
    served[0].process.kill()
    expected = texts.ollama.at(urls[1]).embed(model="all-minilm")
    alike = np.stack(future.result(60)) * np.stack(expected)
    assert alike.sum(axis=1).min() > 0.999
