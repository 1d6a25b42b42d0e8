"""``dedupe``, ``similarity`` and ``topics``: what rows have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jupyter_ollama_magics
import jupyter_ollama_magics.accessor
import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.tables import duplicates, topics

REVIEWS = [
    "The parcel arrived late",
    "My parcel came too late",
    "The delivery of the parcel was late again",
    "The waiter was rude",
    "A rude waiter served us",
    "Our waiter was very rude and slow",
    "The app crashes at start",
    "The app crashes every morning",
]


@pytest.fixture
def real(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the accessors find the real server."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)


def at(*degrees: float) -> pd.Series:
    """Return vectors on a circle, of several lengths."""
    return pd.Series(
        [
            np.array([np.cos(np.radians(one)), np.sin(np.radians(one))], np.float32) * (1 + place)
            for place, one in enumerate(degrees)
        ]
    )


def test_a_chain_is_not_a_group() -> None:
    chain = at(0, 20, 40, 60, 80)
    threshold = float(np.cos(np.radians(25)))
    frame = chain.ollama.dedupe(threshold, into="same")
    # 20 goes for 0, 60 for 40; 0 and 40 are too far apart, however near 20 is to both.
    assert frame.same_kept.tolist() == [True, False, True, False, True]
    assert frame.same_group.tolist()[::2] == [0, 1, 2]
    assert chain.ollama.dedupe(threshold).index.tolist() == [0, 2, 4]
    assert chain.ollama.dedupe(threshold, keep="last").index.tolist() == [0, 2, 4]
    assert chain[:4].ollama.dedupe(threshold, keep="last").index.tolist() == [1, 3]


def test_kept_rows_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", 5)
    made = np.random.default_rng(1)
    units = made.normal(size=(60, 3))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    order = made.permutation(60)
    kept: list[int] = []
    for row in order:
        if not kept or (units[kept] @ units[row]).max() < 0.8:
            kept.append(int(row))
    assert duplicates.kept_rows(units, 0.8, order).tolist() == kept
    assert 5 < len(kept) < 60
    chosen = duplicates.groups(units, np.array(kept))
    assert ((units[np.array(kept)[chosen]] * units).sum(axis=1) >= 0.8 - 1e-9).all()


@pytest.mark.usefixtures("real")
def test_rows_that_mean_the_same() -> None:
    frame = pd.DataFrame(
        {"text": [REVIEWS[0], None, REVIEWS[3], REVIEWS[1], REVIEWS[0], REVIEWS[4]]}
    )
    kept = frame.ollama.dedupe("text", 0.7, "all-minilm")
    assert kept.index.tolist() == [0, 1, 2]
    longest = frame.ollama.dedupe("text", 0.7, "all-minilm", keep="longest", into="dup")
    assert longest.dup_group.tolist() == [0, pd.NA, 1, 0, 0, 1]
    assert longest.dup_kept.tolist() == [True, True, False, False, False, True]
    assert "dup_kept" not in frame
    # Equal texts are the same at the highest threshold.
    assert frame.ollama.dedupe("text", 1.0, "all-minilm").index.tolist() == [0, 1, 2, 3, 5]


@pytest.mark.usefixtures("real")
async def test_similarity_of_columns_and_texts() -> None:
    frame = pd.DataFrame(
        {"a": ["A cat sleeps", None, "Stocks fell"], "b": ["A sleeping cat", "x", "It rains"]}
    )
    near = frame.ollama.similarity("a", "b", "all-minilm")
    assert near.isna().tolist() == [False, True, False]
    assert near[0] > 0.8 > 0.4 > near[2]
    assert near.dtype == "float32"
    assert frame.a.ollama.similarity(frame.b, "all-minilm").equals(near)
    assert (await frame.a.ollama.asimilarity(frame.b.tolist(), "all-minilm")).equals(near)
    one = frame.a.ollama.similarity("A sleeping cat", "all-minilm")
    assert one[0] == pytest.approx(near[0], abs=1e-3)
    two = jupyter_ollama_magics.similarity("A cat sleeps", "A sleeping cat", "all-minilm")
    assert two == pytest.approx(float(near[0]), abs=1e-3)


@pytest.mark.usefixtures("real")
def test_topics_have_names_and_typical_rows() -> None:
    texts = pd.Series([*REVIEWS, None], name="text", index=range(10, 19))
    found = texts.ollama.topics(3, "all-minilm", typical=2)
    assert found.rows.tolist() == [3, 3, 2]
    words = dict(zip(found["words"].map(lambda some: some[0]), found.index, strict=True))
    assert set(words) == {"parcel", "waiter", "app"} or set(words) <= {
        "parcel", "late", "waiter", "rude", "app", "crashes"
    }  # fmt: skip
    for _, topic in found.iterrows():
        assert topic.typical == texts[topic.labels].tolist()
        assert len(topic.typical) == 2
    placed = texts.ollama.topics(3, "all-minilm", into="topic")
    assert placed.topic.equals(texts.ollama.cluster(3, "all-minilm").rename("topic"))
    assert placed.topic_name.iloc[0] == found["name"][placed.topic.iloc[0]]
    assert placed.topic_name.isna().tolist() == [False] * 8 + [True]
    # Vectors that are there are used.
    frame = texts.to_frame().assign(vector=texts.ollama.embed(model="all-minilm"))
    again = frame.ollama.topics("text", 3, vectors="vector", typical=2)
    assert again["name"].tolist() == found["name"].tolist()


@pytest.mark.usefixtures("real")
def test_a_model_names_topics() -> None:
    found = pd.Series(REVIEWS).ollama.topics(3, "all-minilm", chat_model="smollm2")
    assert found["name"].is_unique
    assert found["name"].str.len().between(3, 110).all()
    plain = pd.Series(REVIEWS).ollama.topics(3, "all-minilm")
    assert (found["name"] != plain["name"]).any()


@pytest.mark.parametrize(
    ("names", "words", "expected"),
    [
        (["a", "b"], [["x"], ["y"]], ["a", "b"]),
        (["Late", "late"], [["x", "z"], ["y"]], ["Late (x, z)", "late (y)"]),
        (["a", "a"], [[], []], ["a", "a 2"]),
    ],
)
def test_names_differ(
    names: list[str], words: Sequence[Sequence[str]], expected: list[str]
) -> None:
    assert topics.distinct(names, words) == expected


def test_words_of_all_groups_name_none() -> None:
    groups = [["the red car"] * 6, ["the blue car", "the blue sea"] * 3]
    assert topics.words_of(groups, 1) == [["red"], ["blue"]]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("dedupe", {"threshold": 0}, "threshold is a cosine similarity"),
        ("dedupe", {"keep": "best"}, 'keep is "first", "last" or "longest"'),
        ("dedupe", {"keep": "longest"}, "needs texts"),
        ("dedupe", {"into": 3}, "into is the beginning"),
        ("similarity", {"other": at(1)}, "similarity has 2 rows and 1 others"),
        ("similarity", {"other": at(1, 2)[::-1]}, "have other labels"),
        ("similarity", {"other": 3}, "similarity takes texts, not int"),
        ("similarity", {"other": [np.ones(3)] * 2}, "have 2 and 3 numbers"),
        ("topics", {"k": "3"}, "k is a positive integer"),
        ("topics", {"typical": 0}, "typical is a positive integer"),
        ("topics", {}, "takes texts"),
    ],
)
def test_wrong_arguments(method: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OllamaMagicsError, match=message):
        getattr(at(0, 90).ollama, method)(**arguments)
