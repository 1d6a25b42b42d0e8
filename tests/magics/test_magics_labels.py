"""classify: several labels, labels by meaning, the choice between models, and calibration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.operators.calibration import Calibration
from row_server import RowServer, application

TOPICS = {
    "delivery": "parcels, couriers and shipping",
    "price": "money, costs and discounts",
    "staff": "waiters, clerks and how they behave",
}
TRUTH = {
    "The parcel came two weeks late": "delivery",
    "The courier left it in the rain": "delivery",
    "Far too expensive for what it is": "price",
    "A bargain, worth every cent": "price",
    "The clerk was rude to my mother": "staff",
    "Our waiter smiled and joked": "staff",
}
LEVELS = ["low", "medium", "high"]


@pytest.fixture(autouse=True)
def url(decision_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", decision_server)
    return decision_server


def test_several_labels() -> None:
    texts = pd.Series(["rain all day", None, "a goal in the rain", "nothing"], name="news")
    labels = ["weather", "sport"]
    found = texts.ollama.classify(labels, model="tagger", multi=True)
    assert found.tolist() == [["weather"], None, ["weather", "sport"], []]
    assert found.name == "news"
    low = texts.ollama.classify(labels, model="tagger", multi=True, threshold=0.25)
    assert low.tolist()[3] == labels
    odds = texts.ollama.classify(labels, model="tagger", multi=True, probabilities=True)
    assert odds.columns.tolist() == labels
    assert odds.iloc[0].tolist() == pytest.approx([0.9, 0.3], abs=0.01)
    assert odds.iloc[1].isna().all()


def test_labels_by_meaning() -> None:
    texts = pd.Series([*TRUTH, None])
    found = texts.ollama.classify(TOPICS, model="all-minilm", by="embedding")
    assert found.dtype == pd.CategoricalDtype(list(TOPICS))
    assert found.tolist()[:-1] == list(TRUTH.values())
    assert found.isna().tolist() == [False] * 6 + [True]


def test_examples_move_the_meaning_of_labels() -> None:
    texts = pd.Series(["The kettle is loud"])
    labels = ["alpha", "beta"]
    for label in labels:
        shown = [("The toaster makes noise", label), ("My kettle hums", label)]
        found = texts.ollama.classify(labels, model="all-minilm", by="embedding", examples=shown)
        assert found.tolist() == [label]


def test_calibrated_similarities_are_probabilities() -> None:
    rows, labels = list(TRUTH), list(TRUTH.values())
    odds = pd.Series(rows).ollama.classify(
        list(TOPICS),
        model="all-minilm",
        by="embedding",
        probabilities=True,
        calibrate=(rows, labels),
    )
    assert odds.sum(axis=1).tolist() == pytest.approx([1] * 6)
    assert odds.idxmax(axis=1).tolist() == labels
    assert odds.max(axis=1).min() > 0.5


def test_calibration_removes_a_preference() -> None:
    """The model says "medium" of what broke, and of no row is that right."""
    texts = pd.Series(["it broke", "a fire"])
    assert texts.ollama.classify(LEVELS, model="judge").tolist() == ["medium", "high"]
    known = (
        ["broke", "plain", "fire", "plain 2", "broke 2"],
        ["high", "low", "high", "low", "high"],
    )
    found = texts.ollama.classify(LEVELS, model="judge", calibrate=known)
    assert found.tolist() == ["high", "high"]
    odds = texts.ollama.classify(LEVELS, model="judge", calibrate=known, probabilities=True)
    assert odds.idxmax(axis=1).tolist() == ["high", "high"]
    assert odds.sum(axis=1).tolist() == pytest.approx([1, 1])


def test_the_fit_finds_offsets_and_confidence() -> None:
    chance = np.random.default_rng(7)
    truth = chance.integers(0, 3, 400)
    logits = 1.5 * np.eye(3)[truth] + chance.normal(size=(400, 3))
    # Scores of a model that is three times too sure and likes the last label.
    scores = 3 * logits + np.array([0, 0, 6.0])
    fitted = Calibration.fitted(scores.tolist(), truth.tolist())
    found = np.array([fitted.adjusted(row) for row in scores.tolist()])
    plain = (scores.argmax(axis=1) == truth).mean()
    assert (found.argmax(axis=1) == truth).mean() > plain + 0.15
    odds = np.exp(found - found.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    # The mean of the highest probabilities is the share of right labels.
    assert odds.max(axis=1).mean() == pytest.approx(
        (found.argmax(axis=1) == truth).mean(), abs=0.03
    )


def test_auto_takes_the_better_model_and_says_why() -> None:
    known = (list(TRUTH), list(TRUTH.values()))
    texts = pd.Series(["My package is lost", "It costs too much"])
    with pytest.warns(
        UserWarning, match=r'classify\(by="auto"\) asks the embedding model all-m'
    ) as caught:
        found = texts.ollama.classify(TOPICS, model=None, by="auto", calibrate=known)
    assert found.tolist() == ["delivery", "price"]
    assert len(caught) == 1


def test_auto_without_labelled_rows(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RowServer()
    server.answer = lambda text: '"a"'
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    rows = pd.Series(["x"])
    with pytest.warns(UserWarning, match="asks the chat model echo.*no embedding model to comp"):
        assert rows.ollama.classify(["a", "b"], by="auto").tolist() == ["a"]
    embedding = {"name": "small:latest", "digest": "e" * 64, "capabilities": ["embedding"]}
    server.models.append(embedding)
    with pytest.warns(UserWarning, match="asks the chat model echo.*no labelled rows"):
        assert rows.ollama.classify(["a", "b"], by="auto").tolist() == ["a"]
    server.models.clear()
    with pytest.raises(OllamaMagicsError, match="neither a chat nor an embedding model"):
        rows.ollama.classify(["a", "b"], by="auto")
