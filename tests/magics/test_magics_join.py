"""``join`` and ``sim_join``: rows of two tables that belong together."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import company_names
import jupyter_ollama_magics.accessor  # noqa: F401
import knowing_server
import numpy as np
import pandas as pd
import pytest
from company_names import Registers
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.tables import (
    join,
    joined_rows,
    pair_candidates,
    pair_learning,
    pair_recall,
)
from jupyter_ollama_magics.tables.pair_candidates import Letters, Vectors
from row_server import RowServer, application

SAME = "{left.text} and {right.name} are the same company"
MODELS = {"model": "smollm2", "embed_model": "all-minilm"}


@pytest.fixture
def real(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the accessors find the real server."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)


@pytest.fixture(scope="module")
def registers() -> Registers:
    """Two registers of 200 names each."""
    return company_names.make(rows=200, seed=0)


@pytest.fixture
def knowing(
    chat_server: str,
    serve: Callable[..., str],
    registers: Registers,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[knowing_server.KnowingServer]:
    """A server that knows which of the names are the same, and the accessors find."""
    left, right = registers.left.text, registers.right["name"]
    same = [f"{left[a]} and {right[b]} are the same company" for a, b in registers.same]

    def yes(prompt: str) -> float:
        # As sure as a good model: never wrong by far, and never certain.
        return 0.9 if any(statement in prompt for statement in same) else 0.2

    server = knowing_server.KnowingServer(chat_server, yes)
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(knowing_server.application(server)))
    with closing(server.client):
        yield server


def pairs_of(found: pd.DataFrame) -> set[tuple[int, int]]:
    """Return the pairs of numbers that the tables of ``numbered`` have."""
    return set(zip(found.l.astype(int), found.r.astype(int), strict=True))


def numbered(registers: Registers) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the registers with their labels as columns, too."""
    return registers.left.assign(l=registers.left.index), registers.right.assign(
        r=registers.right.index
    )


def test_names_of_200_companies(
    knowing: knowing_server.KnowingServer, registers: Registers
) -> None:
    left, right = numbered(registers)
    found = left.ollama.join(right, SAME, **MODELS, recall_sample=200)
    report = found.attrs["join"]
    assert report["pairs"] == 40_000
    assert report["asked"] <= 0.05 * 40_000
    # Equal statements are sent once.
    assert report["asked"] - len(set(knowing.scored)) < 20
    assert (report["scored"], report["failed"]) == (True, 0)
    # All pairs that the model takes for the same, so the candidates had them.
    assert len(pairs_of(found) & registers.same) >= 0.95 * len(registers.same)
    assert pairs_of(found) <= registers.same
    assert report["matched"] == len(found)
    assert 0.95 <= report["recall"] <= 1
    assert 0 < report["recall_low"] <= report["recall"]
    assert found.probability.tolist() == pytest.approx([0.9] * len(found))


def test_a_model_that_knows_nothing_differs_from_known_pairs(
    knowing: knowing_server.KnowingServer, registers: Registers
) -> None:
    made = random.Random(0)
    knowing.yes = lambda prompt: 0.23 + 0.1 * made.random()
    left, right = numbered(registers)
    none = left.ollama.join(right, SAME, **MODELS)
    assert len(none) == 0
    assert none.columns.tolist() == ["text", "l", "name", "r", "probability", "similarity"]
    every = left.ollama.join(right, SAME, **MODELS, threshold=0)
    wrong = sorted(pairs_of(every) - registers.same)
    true = made.sample(sorted(registers.same), 40)
    known = dict.fromkeys(true, True) | dict.fromkeys(made.sample(wrong, 40), False)
    found = left.ollama.join(right, SAME, **MODELS, known=known)
    report = found.attrs["join"]
    assert report["known"] == 80
    assert report["model_accuracy"] == 0.5
    assert report["accuracy"] >= 0.9
    assert abs(report["weights"]["model"]) < report["weights"]["letters margin"]
    # Measured without the known pairs.
    rest = registers.same - set(known)
    right_ones = pairs_of(found) - set(known)
    assert len(right_ones & rest) >= 0.95 * len(rest)
    assert len(right_ones & rest) >= 0.7 * len(right_ones)
    # The report says how good the learned probabilities are.
    assert {(a, b) for a, b in known if known[a, b]} <= pairs_of(found)


@pytest.mark.usefixtures("real")
async def test_a_real_model_gives_probabilities() -> None:
    made = company_names.make(rows=8, shared=6, seed=3)
    left, right = numbered(made)
    every = left.ollama.join(right, SAME, **MODELS, k=1, threshold=0)
    assert every.attrs["join"]["scored"]
    assert len(pairs_of(every) & made.same) == 6
    assert every.probability.between(0.001, 0.999).all()
    again = await left.ollama.ajoin(right, SAME, **MODELS, k=1, threshold=0)
    # Beside other requests, a probability differs a little.
    pd.testing.assert_frame_equal(every, again, atol=0.1)


@pytest.fixture
def answering(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """A server without /api/score; its vectors are those of lengths and first letters."""
    server = RowServer()
    server.models[0]["digest"] = secrets.token_hex(32)
    server.answer = lambda text: '"yes"' if text.count("x1") == 2 else '"no"'
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    return server


def test_without_score_the_model_answers_yes_or_no(answering: RowServer) -> None:
    left = pd.Series(["x1", "x2", None, "bad"], name="a", index=[5, 6, 7, 8])
    right = pd.Series(["x1", "x3"], name="a")
    with pytest.raises(OllamaMagicsError, match=r"row \('left', 8\): cannot do"):
        left.ollama.join(right, "{left} is {right}", "echo", embed_model="echo")
    # The vectors of a "bad" text fail, too.
    left = left.replace("bad", "x4")
    found = left.ollama.join(right, "{left} is {right}", "echo", embed_model="echo")
    assert found[["a_left", "a_right", "probability"]].values.tolist() == [["x1", "x1", 1.0]]
    report = found.attrs["join"]
    assert (report["scored"], report["asked"], report["pairs"]) == (False, 6, 6)
    formats = [body["format"] for body in answering.bodies if "messages" in body]
    assert {str(format) for format in formats} == {"{'type': 'string', 'enum': ['yes', 'no']}"}


@pytest.mark.parametrize(
    ("how", "rows"),
    [("inner", 1), ("left", 4), ("right", 2), ("outer", 5)],
)
def test_rows_without_a_match_are_kept_as_merge_keeps_them(
    answering: RowServer, how: Any, rows: int
) -> None:
    left = pd.DataFrame({"a": ["x2", "x1", None, "x4"], "n": [1, 2, 3, 4]})
    right = pd.DataFrame({"a": ["x1", "x3"], "m": [True, False]})
    given = {"model": "echo", "embed_model": "echo", "how": how}
    found = left.ollama.join(right, "{left.a} is {right.a}", **given)
    expected = left.merge(right, left_on="a", right_on="a", how=how)
    assert len(found) == rows == len(expected)
    assert set(found.n.dropna()) == set(expected.n.dropna())
    assert set(found.m.dropna()) == set(expected.m.dropna())
    assert found.columns.tolist() == ["a_left", "n", "a_right", "m", "probability", "similarity"]
    assert found.probability.notna().sum() == 1


def test_tables_without_rows(answering: RowServer) -> None:
    empty = pd.Series([], dtype=object, name="b")
    found = pd.Series(["x1"], name="a").ollama.join(empty, "{left} is {right}", how="left")
    assert found.a.tolist() == ["x1"]
    assert found.attrs["join"]["asked"] == 0
    assert answering.bodies == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": "{left} is it"}, r"names no column of the right table: \{right.b\}, \{right\}"),
        ({"prompt": 3}, "prompt is a text"),
        ({"how": "cross"}, "how is one of inner"),
        ({"k": 0}, "k is a positive integer"),
        ({"threshold": 2}, "threshold is a probability"),
        ({"errors": "column"}, 'errors is "raise" or "coerce"'),
        ({"suffixes": "_x"}, "suffixes are two texts"),
        ({"recall_sample": -1}, "recall_sample is a positive integer"),
        ({"known": [(1, 2)]}, "known is a dict"),
        ({"known": {(0, 9): True}}, r"known has \(0, 9\), which is no pair of labels"),
        ({"known": {(0, 0): "yes"}}, "not True or False"),
        ({"known": {(0, 0): True}}, "known needs at least 3 pairs"),
        ({"other": ["x"]}, "The right table is a Series or DataFrame, not list"),
    ],
)
def test_wrong_arguments(answering: RowServer, arguments: dict[str, Any], message: str) -> None:
    given = {"other": pd.Series(["x1"], name="b"), "prompt": "{left} is {right}"}
    given |= {"model": "echo", "embed_model": "echo"}
    with pytest.raises(OllamaMagicsError, match=message):
        pd.Series(["x1"], name="a").ollama.join(**(given | arguments))


def test_sim_join_of_vectors() -> None:
    left = pd.DataFrame({"v": [np.array([1, 0.1]), None, np.array([0, 2.0])], "n": [1, 2, 3]})
    right = pd.DataFrame({"v": [np.array([0, 1.0]), np.array([1.0, 1.0]), np.array([3.0, 0])]})
    found = left.ollama.sim_join(right, "v", k=2)
    assert found.n.tolist() == [1, 1, 3, 3]
    assert [tuple(vector) for vector in found.v_right] == [(3, 0), (1, 1), (0, 1), (1, 1)]
    assert found.similarity.tolist() == pytest.approx([0.995, 0.774, 1, 0.7071], abs=1e-3)
    assert len(left.ollama.sim_join(right, "v", k=9)) == 6
    assert left[:0].ollama.sim_join(right, "v").empty
    with pytest.raises(OllamaMagicsError, match="vectors of 2 and of 3 numbers"):
        left.ollama.sim_join(pd.Series([np.ones(3)]), ("v", "text"))
    with pytest.raises(OllamaMagicsError, match="Name the column of the left table"):
        left.ollama.sim_join(right)


def test_the_search_is_exact_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = np.random.default_rng(2)
    left, right = made.normal(size=(23, 5)), made.normal(size=(17, 5))
    monkeypatch.setattr(pair_candidates, "BLOCK", 4)
    found, similarity = pair_candidates.nearest(Vectors(left), Vectors(right), 3)
    whole = left @ right.T
    assert found.tolist() == np.argsort(-whole, axis=1)[:, :3].tolist()
    assert similarity == pytest.approx(-np.sort(-whole, axis=1)[:, :3], abs=1e-5)
    pairs = pair_candidates.both_ways(Vectors(left), Vectors(right), 2)
    forth = {(a, b) for a in range(23) for b in np.argsort(-whole[a])[:2]}
    back = {(a, b) for b in range(17) for a in np.argsort(-whole[:, b])[:2]}
    assert {divmod(pair, 17) for pair in pairs.tolist()} == forth | back
    values = pair_candidates.similarities(Vectors(left), Vectors(right), pairs)
    assert values == pytest.approx(whole.ravel()[pairs], abs=1e-5)
    apart = pair_candidates.margins(Vectors(left), Vectors(right), pairs, values)
    for (a, b), margin in zip((divmod(pair, 17) for pair in pairs), apart, strict=True):
        others = np.concatenate([np.delete(whole[a], b), np.delete(whole[:, b], a)])
        assert margin == pytest.approx(whole[a, b] - others.max(), abs=1e-5)


def test_letters_find_names_with_errors(registers: Registers) -> None:
    left, right = registers.left.text.tolist(), registers.right["name"].tolist()
    weights = pair_candidates.trigram_weights(left, right)
    pairs = pair_candidates.both_ways(Letters(left, weights), Letters(right, weights), 1)
    same = {a * 200 + b - 1000 for a, b in registers.same}
    assert len(same & set(pairs.tolist())) >= 0.97 * len(same)


def test_a_sample_estimates_the_recall() -> None:
    """300 of 10,000 pairs are true; the candidates have 240 of them, the near ones 30."""
    made = np.random.default_rng(4)
    true = made.choice(10_000, 300, replace=False)
    candidates = np.sort(np.concatenate([true[:240], np.setdiff1d(np.arange(300), true)]))
    near = np.union1d(candidates, np.concatenate([true[240:270], np.arange(9000, 9100)]))
    estimates, lows = [], []
    for seed in range(60):
        sample = pair_recall.draw(candidates, near, 10_000, 400, seed)
        assert len(np.unique(sample.pairs)) == len(sample.pairs)
        assert not np.isin(sample.pairs, candidates).any()
        found = sample.recall(240, np.isin(sample.pairs, true))
        estimates.append(found["recall"])
        lows.append(found["recall_low"])
    assert np.mean(estimates) == pytest.approx(0.8, abs=0.04)
    assert np.mean(np.array(lows) <= 0.8) >= 0.9
    everything = pair_recall.draw(candidates, near, 10_000, 10_000, 0)
    exact = everything.recall(240, np.isin(everything.pairs, true))
    assert exact == {"recall": 0.8, "recall_low": 0.8}
    assert everything.recall(0, np.zeros(len(everything.pairs), bool))["recall"] is None


def test_learned_probabilities_fit_their_answers() -> None:
    made = np.random.default_rng(6)
    features = made.normal(size=(4000, 2))
    chance = 1 / (1 + np.exp(-(2 * features[:, 0])))
    answers = (made.random(4000) < chance).astype(float)
    found = pair_learning.fit(features, answers)
    assert np.abs(found.probabilities(features) - chance).mean() < 0.03
    assert abs(found.weights[1]) < 0.15
    held = pair_learning.cross_validated(features[:100], answers[:100])
    assert np.abs(held - chance[:100]).mean() < 0.15


def test_columns_of_both_sides_get_suffixes() -> None:
    left = pd.DataFrame({"similarity": [1], "a": ["x"]})
    right = pd.DataFrame({"a": ["y"], "b": [2]})
    rows = np.array([0])
    found = joined_rows.side_by_side(left, right, rows, rows, {"similarity": np.array([0.5])})
    assert found.columns.tolist() == ["similarity", "a_left", "a_right", "b", "similarity_"]
    assert join.FEATURES[0] == "model"
