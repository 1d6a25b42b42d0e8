"""rank: the first rows in an order, by few comparisons, whatever a model thinks of places."""

from __future__ import annotations

import _thread
import asyncio
import math
import random
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from crowd import wait_until
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows.plan import RowsInterrupted
from jupyter_ollama_magics.tables.tournament import winners
from row_server import RowServer, application

SIZES = [1, 2, 3, 7, 8, 9, 50, 200]


@pytest.fixture
def items(decision_server: str, monkeypatch: pytest.MonkeyPatch) -> pd.Series:
    """Sixty rows with numbers, which the model "hasty" compares."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", decision_server)
    numbers = random.Random(3).sample(range(1000), 60)
    return pd.Series([f"item {number}" for number in numbers], name="item")


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("k", [1, 2, 5, 200])
def test_a_tournament_finds_the_first_by_few_comparisons(count: int, k: int) -> None:
    place = list(range(count))
    random.Random(count).shuffle(place)
    rounds = winners(count, k)
    asked: list[tuple[int, int]] = []
    results: list[bool] | None = None
    while True:
        try:
            pairs = rounds.send(results)  # type: ignore[arg-type]
        except StopIteration as end:
            found = end.value
            break
        asked += pairs
        results = [place[one] < place[other] for one, other in pairs]
    assert [place[one] for one in found] == list(range(min(k, count)))
    assert len(set(asked)) == len(asked)
    bound = count - 1 + (min(k, count) - 1) * math.ceil(math.log2(max(count, 2)))
    assert len(asked) <= bound


def test_the_order_of_a_hasty_model(items: pd.Series) -> None:
    """It answers 1 about every pair; only its certainty tells which is the larger."""
    best = items.ollama.rank("largest number first", k=5, model="hasty")
    numbers = items.str.split().str[1].astype(int)
    assert best["item"].tolist() == items[numbers.nlargest(5).index].tolist()
    assert best.index.tolist() == numbers.nlargest(5).index.tolist()
    assert best["rank"].tolist() == [1, 2, 3, 4, 5]
    report = best.attrs["rank"]
    assert report["rows"] == 60
    assert report["all_pairs"] == 60 * 59 // 2
    assert 59 < report["compared"] <= 59 + 4 * 6
    assert report["calls"] == 2 * report["compared"]
    assert report["disagreed"] == report["compared"]
    assert report["failed"] == 0
    # One report counts the requests of all rounds.
    whole = items.ollama.last_report()
    assert (whole.operator, whole.calls) == ("rank", report["calls"])
    assert whole.model.startswith("hasty")
    assert best.attrs["ollama"] == whole.as_dict()


def test_frames_missing_and_equal_rows(items: pd.Series, tmp_path: Path) -> None:
    texts = [None, "item 4", "item 9", "item 4", "item 1"]
    frame = pd.DataFrame({"note": texts, "id": range(5)})
    cache = tmp_path / "pairs.sqlite"
    best = frame.ollama.rank("largest {note} first", k=3, model="hasty", cache=cache)
    assert best["id"].tolist() == [2, 1, 3]
    assert best.columns.tolist() == ["note", "id", "rank"]
    assert best.attrs["rank"]["rows"] == 3
    again = frame.ollama.rank("largest {note} first", k=3, model="hasty", cache=cache, into="at")
    assert again["at"].tolist() == [1, 2, 3]
    assert again.attrs["rank"]["calls"] == 0
    by_column = asyncio.run(frame.ollama.arank("largest note first", 2, "note", "hasty"))
    assert by_column["id"].tolist() == [2, 1]
    whole = frame.ollama.rank("largest first", 9, "a {note}", "hasty")
    assert whole["id"].tolist() == [2, 1, 3, 4]
    assert frame[:1].ollama.rank("largest {note} first", model="hasty").empty


def test_by_score_each_row_is_asked_once(items: pd.Series) -> None:
    texts = pd.Series(["a plain day", "a fire", "it broke"])
    best = texts.ollama.rank("most urgent first", k=2, model="smollm2", method="score")
    assert len(best) == 2
    assert best.attrs["rank"]["calls"] == 3
    again = texts.ollama.rank("most urgent first", k=2, model="smollm2", method="score")
    assert again.index.tolist() == best.index.tolist()


@pytest.fixture
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """A server without /api/score that compares numbers."""
    server = RowServer()
    server.models[0]["digest"] = secrets.token_hex(32)
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))

    def larger(text: str) -> str:
        one, other = (int(part.split()[-1]) for part in text.split("\n\nText 2:\n"))
        return '"1"' if one > other else '"2"'

    server.answer = larger
    return server


def test_without_probabilities(echo: RowServer) -> None:
    rows = pd.Series([f"item {number}" for number in (3, 8, 5, 1, 9)])
    best = rows.ollama.rank("largest first", k=2)
    assert best["text"].tolist() == ["item 9", "item 8"]
    assert best.attrs["rank"]["disagreed"] == 0
    # A model that always answers 1 cannot tell: the rows keep their places.
    echo.answer = lambda text: '"1"'
    best = rows.ollama.rank("smallest first", k=2)
    assert best["text"].tolist() == ["item 3", "item 8"]
    assert best.attrs["rank"]["disagreed"] == best.attrs["rank"]["compared"]


def test_comparisons_that_fail(echo: RowServer) -> None:
    rows = pd.Series(["item 3", "bad item 5", "item 9"])
    with pytest.raises(OllamaMagicsError, match="cannot do"):
        rows.ollama.rank("largest first", k=1)
    best = rows.ollama.rank("largest first", k=1, errors="coerce")
    assert best["text"].tolist() == ["item 9"]
    assert best.attrs["rank"]["failed"] == 1


def test_an_interrupted_call_continues(echo: RowServer) -> None:
    rows = pd.Series([f"item {number}" for number in random.Random(1).sample(range(999), 40)])
    echo.stop_at = 60  # in the second round: the first has 20 pairs in two orders

    def interrupt() -> None:
        wait_until(lambda: len(echo.answered) == 60 and echo.at_once > 0)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(RowsInterrupted):
        rows.ollama.rank("largest first", k=3)
    thread.join()
    before = set(echo.answered)
    sent = len(echo.bodies)
    echo.go_on.set()
    best = rows.ollama.rank("largest first", k=3)
    numbers = rows.str.split().str[1].astype(int)
    assert best.index.tolist() == numbers.nlargest(3).index.tolist()
    again = [body["messages"][-1]["content"] for body in echo.bodies[sent:]]
    # The 40 answers of the first round were read; a few of the second may have been on their way.
    assert len(before & set(again)) <= 20
    assert best.attrs["rank"]["calls"] == len(again)
