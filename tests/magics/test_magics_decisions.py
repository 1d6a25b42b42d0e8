"""filter, score and classify by probabilities that are known, and on a server without them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import jupyter_ollama_magics.dask_frame  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from row_server import RowServer

LEVELS = ["low", "medium", "high"]
COMPLAINT = "{text} is a complaint"
URGENT = "how urgent is {text}?"


@pytest.fixture
def notes(decision_server: str, monkeypatch: pytest.MonkeyPatch) -> pd.Series:
    """Rows whose answers by "judge" are known; the accessors find its server."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", decision_server)
    texts = ["it broke", "a plain thing", None, "a fire", "it broke"]
    return pd.Series(texts, index=list("abcde"), name="text")


def test_filter_returns_rows_a_mask_or_probabilities(notes: pd.Series) -> None:
    kept = notes.ollama.filter(COMPLAINT, "judge")
    pd.testing.assert_series_equal(kept, notes.loc[["a", "d", "e"]])
    assert notes.ollama.filter(COMPLAINT, "judge", threshold=0.7).index.tolist() == ["a", "e"]
    odds = notes.ollama.filter(COMPLAINT, "judge", returns="probability")
    assert odds.tolist() == pytest.approx([0.9, 0.2, np.nan, 0.6, 0.9], abs=0.01, nan_ok=True)
    mask = notes.ollama.filter(COMPLAINT, "judge", returns="mask")
    assert (str(mask.dtype), mask.name) == ("boolean", "text")
    assert mask.fillna(False).tolist() == [True, False, False, True, True]
    assert mask.isna()["c"]
    assert notes[mask].index.tolist() == ["a", "d", "e"]


def test_filter_of_a_frame(notes: pd.Series) -> None:
    frame = notes.to_frame().assign(id=range(5))
    kept = frame.ollama.filter(COMPLAINT, "judge", into="complaint")
    assert kept.columns.tolist() == ["text", "id", "complaint"]
    assert kept["id"].tolist() == [0, 3, 4]
    assert kept["complaint"].tolist() == pytest.approx([0.9, 0.6, 0.9], abs=0.01)
    found = frame.ollama.filter("{id} fits {text}", "judge", returns="mask", into="fits")
    assert found["fits"].fillna(False).tolist() == [True, False, False, True, True]
    parts = dd.from_pandas(frame, npartitions=2)
    lazy = parts.ollama.filter(COMPLAINT, "judge").compute(scheduler="synchronous")
    assert lazy["id"].tolist() == [0, 3, 4]
    assert lazy.columns.tolist() == ["text", "id"]


async def test_filter_awaited_and_cached(notes: pd.Series, tmp_path: Path) -> None:
    cache = tmp_path / "rows.sqlite"
    one, two = await asyncio.gather(
        notes.ollama.afilter(COMPLAINT, "judge", cache=cache),
        notes.ollama.ascore(URGENT, "judge", levels=LEVELS),
    )
    assert one.index.tolist() == ["a", "d", "e"]
    assert two["d"] == pytest.approx(2.75, abs=0.01)
    # The answers are probabilities: another threshold needs no request.
    at_nothing = notes.ollama.at("http://127.0.0.1:9")
    with pytest.raises(OllamaMagicsError):
        at_nothing.filter(COMPLAINT, "judge", cache=cache)
    again = notes.ollama.filter(COMPLAINT, "judge", threshold=0.7, cache=cache)
    assert again.index.tolist() == ["a", "e"]


def test_score_is_the_mean_of_the_levels(notes: pd.Series) -> None:
    found = notes.ollama.score(URGENT, "judge", levels=LEVELS)
    expected = [2.1, 1.4, np.nan, 2.75, 2.1]
    assert found.tolist() == pytest.approx(expected, abs=0.01, nan_ok=True)
    assert (found.name, found.index.tolist()) == ("text", list("abcde"))
    values = dict(zip(LEVELS, [0, 1, 10], strict=True))
    frame = notes.ollama.score(URGENT, "judge", levels=values, probabilities=True)
    assert frame.columns.tolist() == ["score", *LEVELS]
    assert frame.loc["d"].tolist() == pytest.approx([8.15, 0.05, 0.15, 0.8], abs=0.01)
    assert frame.loc["c"].isna().all()


def test_labels_are_those_of_the_highest_probability(notes: pd.Series) -> None:
    labels = notes.ollama.classify(LEVELS, model="judge")
    odds = notes.ollama.classify(LEVELS, model="judge", probabilities=True)
    assert labels.dropna().tolist() == ["medium", "low", "high", "medium"]
    assert odds.dropna().idxmax(axis=1).tolist() == labels.dropna().tolist()
    assert odds.loc["a"].tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.01)


def test_real_labels_agree_with_real_probabilities(notes: pd.Series, tmp_path: Path) -> None:
    """Both read the same answers, which a cache keeps."""
    texts = pd.Series(["I love it", "It broke", "The sky is blue", "Stocks fell", "A cat sleeps"])
    asked = {"labels": ["weather", "money and banks", "pets", "money"], "model": "smollm2"}
    cache = tmp_path / "rows.sqlite"
    odds = texts.ollama.classify(**asked, probabilities=True, cache=cache)
    found = texts.ollama.classify(**asked, cache=cache)
    assert odds.idxmax(axis=1).tolist() == found.tolist()
    # Requests at a time change the last digits of probabilities: only near ties may differ.
    again = texts.ollama.classify(**asked)
    best = odds.apply(lambda row: row.nlargest(2).diff().abs().iloc[1], axis=1)
    sure = best > 0.1
    assert sure.any()
    assert found[sure].tolist() == again[sure].tolist()


def test_rows_that_fail(notes: pd.Series) -> None:
    long = pd.Series(["it broke", "word " * 5000, None])
    options = {"num_ctx": 256}
    with pytest.raises(OllamaMagicsError, match=r"row 1: .*context length"):
        long.ollama.filter(COMPLAINT, "judge", options=options)
    kept = long.ollama.filter(COMPLAINT, "judge", options=options, errors="coerce")
    assert kept.tolist() == ["it broke"]
    found = long.ollama.filter(COMPLAINT, "judge", options=options, errors="column")
    assert found.index.tolist() == [0, 1]
    assert found["error"].notna().tolist() == [False, True]


def test_without_probabilities_the_answer_is_a_choice(echo: RowServer) -> None:
    rows = pd.Series(["x", None, "y"])
    echo.answer = lambda text: '"yes"' if text == "x" else '"no"'
    assert rows.ollama.filter(COMPLAINT).tolist() == ["x"]
    body = echo.bodies[0]
    assert body["format"] == {"type": "string", "enum": ["yes", "no"]}
    assert body["messages"][0]["content"].endswith("Statement: The text is a complaint")
    assert body["messages"][1] == {"role": "user", "content": "x"}
    mask = rows.ollama.filter(COMPLAINT, returns="mask")
    assert mask.fillna(False).tolist() == [True, False, False]
    with pytest.warns(UserWarning, match=r"^filter: this server has no /api/score, so .*missing"):
        odds = rows.ollama.filter(COMPLAINT, returns="probability")
    assert odds.isna().all()
    with pytest.raises(OllamaMagicsError, match="threshold needs probabilities"):
        rows.ollama.filter(COMPLAINT, threshold=0.9)
    echo.answer = lambda text: '"high"'
    with pytest.warns(UserWarning, match=r"^score: this server has no /api/score"):
        found = rows.ollama.score(URGENT, levels=LEVELS, probabilities=True)
    assert found["score"].fillna(0).tolist() == [3, 0, 3]
    assert found[LEVELS].isna().all(axis=None)


def test_several_labels_without_probabilities(echo: RowServer) -> None:
    rows = pd.Series(["x", None])
    echo.answer = lambda text: json.dumps(["b", "a", "b"])
    assert rows.ollama.classify(["a", "b"], multi=True).tolist() == [["a", "b"], None]
    with pytest.raises(OllamaMagicsError, match="needs /api/score"):
        rows.ollama.classify(["a", "b"], multi=True, probabilities=True)
    with pytest.raises(OllamaMagicsError, match="calibrate needs /api/score"):
        rows.ollama.classify(["a", "b"], calibrate=(["x"], ["a"]))


ROWS = pd.Series(["x", "y"], name="review")
FRAME = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ROWS.ollama.filter(), "Give a sentence"),
        (lambda: ROWS.ollama.filter(" "), "Give a sentence"),
        (lambda: FRAME.ollama.filter("is bad"), r"names none of the columns: \{a\}, \{b\}"),
        (lambda: ROWS.ollama.filter("x", threshold=2), "threshold is a probability"),
        (lambda: ROWS.ollama.filter("x", threshold=True), "threshold is a probability"),
        (lambda: ROWS.ollama.filter("x", returns="all"), 'returns is "rows", "mask" or "prob'),
        (lambda: ROWS.ollama.filter("x", examples=[("a", 3)]), "is True or False"),
        (lambda: ROWS.ollama.filter("x", examples=["ab"]), "examples is a list of pairs"),
        (lambda: ROWS.ollama.filter("x", examples="ab"), "examples is a list of pairs"),
        (lambda: ROWS.ollama.filter("x", examples=[(None, True)]), "texts of examples is missing"),
        (lambda: FRAME.ollama.filter("{a} {b}", examples=[("q", True)]), 'columns {"a": …, "b"'),
        (lambda: ROWS.ollama.score("x", levels=[1]), "at least two levels"),
        (lambda: ROWS.ollama.score("x", levels={"a": "b", "c": 1}), "values of levels are numbers"),
        (lambda: ROWS.ollama.score("x", examples=[("q", 9)]), "'9', which is not one of"),
        (lambda: ROWS.ollama.score("x", probabilities=1), "probabilities is True or False"),
        (lambda: ROWS.ollama.classify({"a": 1}), "descriptions of labels are texts"),
        (lambda: ROWS.ollama.classify(["a"], by="meaning"), 'by is "chat", "embedding" or "auto"'),
        (lambda: ROWS.ollama.classify(["a"], multi=True, by="auto"), "multi=True needs"),
        (lambda: ROWS.ollama.classify(["a"], multi=True, examples=[("x", "a")]), "is a list"),
        (lambda: ROWS.ollama.classify(["a"], calibrate=(["x"], [])), "1 texts and 0 labels"),
        (lambda: ROWS.ollama.classify(["a"], calibrate=["x"]), "calibrate is a pair"),
        (lambda: ROWS.ollama.classify(["a"], calibrate=(["x"], ["b"])), "not one of the labels"),
        (
            lambda: ROWS.ollama.classify(["a"], by="embedding", probabilities=True),
            "no probabilities without labelled rows",
        ),
        (lambda: ROWS.ollama.classify(["a"], by="embedding", system="s"), "no system message"),
        (
            lambda: ROWS.ollama.extract(
                {"properties": {"n": {"type": "integer"}}}, examples=[("x", {"n": "many"})]
            ),
            "does not fit",
        ),
        (lambda: ROWS.ollama.rank("best first", 0), "k is a positive integer"),
        (lambda: ROWS.ollama.rank(3), "The order is a text"),
        (lambda: ROWS.ollama.rank("best", method="all"), 'method is "pairs" or "score"'),
        (lambda: ROWS.ollama.rank("best", errors="column"), 'errors is "raise" or "coerce"'),
        (lambda: FRAME.ollama.rank("best first"), "or a column's name"),
    ],
)
def test_mistakes_are_reported_before_a_request(
    echo: RowServer, call: Callable[[], Any], message: str
) -> None:
    with pytest.raises(OllamaMagicsError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert echo.bodies == []
