"""Cascades: a small model answers, a large one gets the rows of which it is unsure."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from cli_process import serving
from doubtful_model import write_labels
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows import report as row_report
from jupyter_ollama_magics.rows import threshold
from row_server import RowServer, application
from store_models import add_model

from jupyter_ollama.library.library import Library

EASY = [f"easy{number}x" for number in range(8)]
HARD = [f"hard{number}x" for number in range(4)]
FALSE = "deceptive"
KNOWN = {name: "cat" if number % 2 else "dog" for number, name in enumerate([*EASY, *HARD, FALSE])}
"""The answer of the large model to each keyword."""

OTHER = {"cat": "dog", "dog": "cat"}
LABELS = ["cat", "dog"]
MODELS = ["small", "large"]


def shares(name: str) -> dict[str, float]:
    """The small model is right and sure about easy rows, wrong and unsure about hard ones."""
    sure = 0.97 if name in EASY else 0.99 if name == FALSE else 0.6
    best = KNOWN[name] if name in EASY else OTHER[KNOWN[name]]
    return {best: sure, OTHER[best]: 1 - sure}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with both models, and both as judges of yes and no."""
    folder = tmp_path_factory.mktemp("cascade")
    library = Library.open(folder / "models")
    small = {name: shares(name) for name in KNOWN}
    large = {name: {best: 0.999, OTHER[best]: 0.001} for name, best in KNOWN.items()}
    for model, known in (("small", small), ("large", large)):
        add_model(library, model, write_labels(folder / f"{model}.gguf", known))
        # The same models say yes in place of cat, and no in place of dog.
        answers = {name: {"yes": share["cat"], "no": share["dog"]} for name, share in known.items()}
        decides = write_labels(folder / f"{model}-decides.gguf", answers)
        add_model(library, f"{model}-decides", decides)
    with serving({**os.environ, "HOME": str(folder)}, library.store.root, folder) as served:
        yield f"http://{served.host}"


@pytest.fixture
def rows() -> pd.Series:
    """600 different rows: 480 easy ones, 116 hard ones, and 4 with a sure but wrong answer."""
    chance = np.random.default_rng(16)
    kinds = chance.permutation([*EASY * 60, *HARD * 29, *[FALSE] * 4])
    return pd.Series([f"row {number} is {kind}" for number, kind in enumerate(kinds)])


def known(text: str) -> str:
    return KNOWN[text.split()[-1]]


@pytest.mark.parametrize(
    "operator", ["classify", "probabilities", "score", "filter", "chat", "enum"]
)
def test_the_agreement_that_was_asked_for_and_a_true_report(
    address: str, rows: pd.Series, monkeypatch: pytest.MonkeyPatch, operator: str
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", address)
    if operator == "classify":
        found: Any = rows.ollama.classify(LABELS, model=MODELS, agree=0.95)
        assert found.dtype == pd.CategoricalDtype(LABELS)
        result, attributes = found.astype(str), found.attrs
    elif operator == "probabilities":
        found = rows.ollama.classify(LABELS, model=MODELS, agree=0.95, probabilities=True)
        result, attributes = found.idxmax(axis=1), found.attrs
    elif operator == "score":
        levels = {"cat": 0, "dog": 1}
        found = rows.ollama.score("how much of a dog?", levels=levels, model=MODELS)
        result, attributes = (found > 0.5).map({False: "cat", True: "dog"}), found.attrs
    elif operator == "filter":
        deciding = [f"{model}-decides" for model in MODELS]
        kept = rows.ollama.filter("{text} is about a cat", model=deciding, agree=0.95)
        result = pd.Series(np.where(rows.index.isin(kept.index), "cat", "dog"))
        attributes = kept.attrs
    elif operator == "enum":
        schema = {"type": "string", "enum": LABELS}
        found = rows.ollama.chat(model=MODELS, agree=0.95, schema=schema)
        result, attributes = found, found.attrs
    else:
        result = rows.ollama.chat(model=MODELS, agree=0.95, options={"temperature": 0})
        attributes = result.attrs
    same = result == rows.map(known)
    assert same.mean() >= 0.95
    report = row_report.last()
    assert report.as_dict() == attributes["ollama"]
    cascade = report.cascade
    assert cascade is not None
    assert same.mean() >= cascade.at_least >= 0.95
    # The rows of the sample have the answers of the large model; the others are known by kind.
    sampled = set(threshold.sample(rows.tolist(), 0.95))
    kinds = rows.str.split().str[-1]
    in_sample = rows.isin(sampled)
    assert cascade.sample == len(sampled) == in_sample.sum()
    assert cascade.agreement == pytest.approx(1 - (kinds[in_sample] == FALSE).mean())
    sent_on = in_sample | kinds.isin(HARD)
    assert 0 < (kinds[in_sample] == FALSE).sum() < 4
    assert cascade.sent_on == pytest.approx(sent_on.mean())
    assert (cascade.small_calls, cascade.large_calls) == (len(rows), sent_on.sum())
    assert report.calls == len(rows) + sent_on.sum()
    assert same.tolist() == (sent_on | kinds.isin(EASY)).tolist()
    assert cascade.seconds_saved is not None
    assert report.prompt_tokens > 0
    assert f"{cascade.sent_on:.0%} sent on to large" in repr(report)


@pytest.fixture
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """A server with two models: the small one is unsure of rows with "hard", and wrong."""
    server = RowServer()
    server.models = [
        {"name": name, "digest": secrets.token_hex(32), "capabilities": ["completion"]}
        for name in MODELS
    ]
    server.answers["small"] = lambda text: "?" if "hard" in text else text.upper()
    server.probability = lambda text: 0.3 if "hard" in text else 0.9
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    return server


ROWS = pd.Series([f"{'hard' if number % 5 == 0 else 'easy'} {number}" for number in range(200)])


def asked(server: RowServer, model: str) -> Counter[str]:
    """Return how often a model was asked for each text."""
    bodies = [body for body in server.bodies if body["model"] == model]
    return Counter(body["messages"][-1]["content"] for body in bodies)


def test_only_the_large_model_gets_rows_that_the_small_one_cannot_answer(echo: RowServer) -> None:
    rows = pd.concat([ROWS, pd.Series([None, "easy 1", "bad one"])], ignore_index=True)
    with pytest.raises(OllamaMagicsError, match="row 202: cannot do bad one"):
        rows.ollama.chat(model=MODELS)
    found = rows.ollama.chat(model=MODELS, errors="column")
    assert found["answer"].tolist()[:200] == ROWS.str.upper().tolist()
    assert found["answer"].isna().tolist()[200:] == [True, False, True]
    assert found["error"].tolist()[-1] == "cannot do bad one"
    assert row_report.last().failures == 1
    assert set(asked(echo, "large").values()) <= {1, 2}


async def test_awaited_and_at_two_servers(
    serve: Callable[..., str], pair: list[tuple[RowServer, str]]
) -> None:
    for server, _ in pair:
        server.models = [server.models[0] | {"name": name} for name in MODELS]
        server.answers["small"] = str.upper
    found = await ROWS.ollama.at(*(url for _, url in pair)).achat(model=MODELS)
    assert found.tolist() == ROWS.str.upper().tolist()
    assert all(len(server.bodies) > 20 for server, _ in pair)
    assert found.attrs["ollama"]["cascade"]["sent_on"] == 59 / 200


def test_both_models_answers_go_to_the_cache(echo: RowServer, tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    first = ROWS.ollama.chat(model=MODELS, cache=file)
    sent = len(echo.bodies)
    again = ROWS.ollama.chat(model=MODELS, cache=file)
    assert len(echo.bodies) == sent == again.attrs["ollama"]["cached"]
    assert again.tolist() == first.tolist()
    assert again.attrs["ollama"]["calls"] == 0
    assert again.attrs["ollama"]["cascade"]["seconds_saved"] is None
    # The answers of the large model are those of a call with it alone.
    alone = ROWS.ollama.chat(model="large", cache=file)
    assert alone.tolist() == ROWS.str.upper().tolist()
    assert set(asked(echo, "large").values()) == {1}
    # Another large model has other answers, and the small one is not asked again.
    echo.models[1]["digest"] = secrets.token_hex(32)
    small = asked(echo, "small")
    ROWS.ollama.chat(model=MODELS, cache=file)
    assert asked(echo, "small") == small


@pytest.mark.parametrize("stop_at", [30, 90, 150, 270])
def test_an_interrupted_cascade_continues(
    echo: RowServer, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    echo.stop_at = stop_at
    plan = ROWS.ollama.plan("chat", model=MODELS)

    async def interrupted() -> None:
        task = asyncio.create_task(plan.run_async())
        while not echo.stopped.is_set():  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    before = Counter(echo.answered)
    echo.stop_at = 10**9
    echo.go_on.set()
    found = ROWS.ollama.chat(model=MODELS)
    assert found.tolist() == ROWS.str.upper().tolist()
    report = row_report.last()
    assert report.resumed > 0
    # What was in flight at the interrupt is asked again, and nothing else.
    assert report.calls <= 200 + 59 + 29 - sum(before.values()) + 40


def test_few_rows_go_to_the_large_model(echo: RowServer) -> None:
    assert ROWS[:59].ollama.chat(model=MODELS).tolist() == ROWS[:59].str.upper().tolist()
    assert not asked(echo, "small")
    cascade = row_report.last().cascade
    assert cascade is not None
    assert (cascade.threshold, cascade.sent_on) == (None, 1.0)
    assert "no threshold for small" in str(cascade)


def test_a_useless_small_model_is_not_asked_for_all_rows(echo: RowServer) -> None:
    echo.answers["small"] = lambda text: "?"
    assert ROWS.ollama.chat(model=MODELS).tolist() == ROWS.str.upper().tolist()
    assert len(asked(echo, "small")) == 59
    assert row_report.last().cascade.sent_on == 1.0  # type: ignore[union-attr]


def test_a_server_without_log_probabilities(echo: RowServer) -> None:
    echo.probability = lambda text: 0
    with pytest.raises(OllamaMagicsError, match=r"needs log-probabilities \(logprobs\)"):
        ROWS.ollama.chat(model=MODELS)
    # Labels have log-probabilities, too, where a server lacks /api/score.
    echo.answers = dict.fromkeys(MODELS, lambda text: '"cat"')
    echo.probability = lambda text: 0.9
    assert set(ROWS.ollama.classify(LABELS, model=MODELS)) == {"cat"}
    assert row_report.last().cascade.sent_on == 59 / 200  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ROWS.ollama.chat(model=["small"]), "the names of two models"),
        (lambda: ROWS.ollama.chat(model=["a", "b", "c"]), "the names of two models"),
        (lambda: ROWS.ollama.chat(model=["a", 2]), "the names of two models"),
        (lambda: ROWS.ollama.chat(model=["a", "a"]), "two different models"),
        (lambda: ROWS.ollama.chat(model="small", agree=0.9), "agree needs two models"),
        (lambda: ROWS.ollama.chat(model=MODELS, agree=1), "agree is a share from 0.5 to 0.999"),
        (lambda: ROWS.ollama.chat(model=MODELS, agree=95), "agree is a share"),
        (lambda: ROWS.ollama.chat(model=MODELS, agree="high"), "agree is a share"),
        (lambda: ROWS.ollama.embed(model=MODELS), "vectors are none"),
        (lambda: ROWS.ollama.chat(model=["small", "larger"]), "model 'larger' not found"),
    ],
)
def test_mistakes(echo: RowServer, call: Callable[[], Any], message: str) -> None:
    with pytest.raises(OllamaMagicsError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert echo.bodies == []
