"""Chunks of long texts, and the words that BM25 sees in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from jupyter_ollama_magics.search.chunks import chunked
from jupyter_ollama_magics.search.words import Words


def words(texts: Sequence[str]) -> Mapping[str, int]:
    """Count a token for each word and mark."""
    return {text: len(re.findall(r"\w+|[^\w\s]", text)) for text in texts}


def test_a_text_that_fits_is_one_chunk() -> None:
    texts = ["Short.", "Exactly these six words fit. And", ""]
    assert chunked(texts, 8, 2, words) == [[text] for text in texts]


def test_short_texts_are_not_counted() -> None:
    asked: list[str] = []

    def counts(texts: Sequence[str]) -> Mapping[str, int]:
        asked.extend(texts)
        return words(texts)

    assert chunked(["short", "x" * 30], 20, 0, counts) == [["short"], ["x" * 30]]
    assert asked == ["x" * 30]


def test_chunks_end_where_sentences_end() -> None:
    text = "One two three. Four five six! Seven eight nine? Ten."
    assert chunked([text], 9, 0, words) == [
        ["One two three. Four five six!", "Seven eight nine? Ten."]
    ]


def test_chunks_overlap_by_sentences() -> None:
    text = " ".join(f"This is sentence {number}." for number in range(40))
    (chunks,) = chunked([text], 20, 6, words)
    assert all(count <= 20 for count in words(chunks).values())
    for before, after in pairwise(chunks):
        assert after.startswith(before.split(". ")[-1])
    assert all(f"sentence {number}." in " ".join(chunks) for number in range(40))


def test_a_long_sentence_is_cut_between_words() -> None:
    text = " ".join(f"word{number}" for number in range(100))
    (chunks,) = chunked([text], 10, 0, words)
    assert " ".join(chunks) == text
    assert all(count <= 10 for count in words(chunks).values())


def test_text_without_spaces_is_cut() -> None:
    (chunks,) = chunked(["字" * 100], 30, 0, lambda texts: {text: len(text) for text in texts})
    assert "".join(chunks) == "字" * 100
    assert max(map(len, chunks)) <= 30


@pytest.mark.parametrize(
    "text", ["一つ目の文です。二つ目の文です。三つ目です。", "A.\n\nB\n- c\n- d\n"]
)
def test_no_text_is_lost(text: str) -> None:
    (chunks,) = chunked([text * 20], 12, 0, lambda texts: {text: len(text) for text in texts})
    assert re.sub(r"\s", "", "".join(chunks)) == re.sub(r"\s", "", text * 20)


def test_scores_of_words() -> None:
    found = Words(["The cat sat", "A dog ran", "", "Le chat: 42 €"])
    assert found.scores("CAT")[0] > 0
    assert found.scores("CAT")[1:].tolist() == [0, 0, 0]
    assert found.scores("zebra").tolist() == [0] * 4
    assert found.scores("42 ?!").argmax() == 3
    assert Words(["", "!"]).scores("cat").tolist() == [0, 0]
    assert Words([]).scores("cat").tolist() == []
