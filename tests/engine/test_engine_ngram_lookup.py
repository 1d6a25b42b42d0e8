"""Drafts by n-gram lookup, as long as they pay."""

from __future__ import annotations

from jupyter_ollama.engine.ngram_lookup import LONGEST, NgramLookup

LIST = [1, 2, 3, 4, 5, 6, 7, 8]


def test_tokens_that_followed_the_last_tokens_are_drafted() -> None:
    assert NgramLookup().draft([*LIST, 90, 91, 2, 3, 4], price=0) == [5, 6, 7, 8, 90, 91, 2, 3, 4]
    assert NgramLookup().draft([*LIST, 90, 2, 3, 5], price=0) == []
    assert NgramLookup().draft([1, 2], price=0) == []


def test_the_latest_occurrence_counts() -> None:
    lookup = NgramLookup()
    tokens = [1, 2, 3, 4, 9, 1, 2, 3, 5, 9, 1, 2, 3]
    assert lookup.draft(tokens[:8], price=0)[0] == 4
    assert lookup.draft(tokens, price=0)[0] == 5


def test_a_draft_is_no_longer_than_it_pays() -> None:
    tokens = [*range(40), 0, 1, 2]
    assert len(NgramLookup().draft(tokens, price=0)) == LONGEST
    assert NgramLookup().draft(tokens, price=0.4) == [3]
    assert NgramLookup().draft(tokens, price=0.7) == []
    assert NgramLookup().draft(tokens, price=1) == []


def test_it_learns_from_chosen_tokens_even_if_nothing_was_drafted() -> None:
    lookup = NgramLookup()
    tokens = [*range(40), 0, 1, 2]
    assert lookup.draft(tokens, price=0.7) == []
    for _ in range(20):
        lookup.record([3])
    assert len(lookup.draft(tokens, price=0.7)) > 1
    for _ in range(20):
        lookup.record([99])
    assert lookup.draft(tokens, price=0.3) == []


def test_tokens_that_are_gone_are_not_drafted() -> None:
    lookup = NgramLookup()
    tokens = [*LIST, 2, 3, 4]
    assert lookup.draft(tokens, price=0)
    lookup.forget()
    assert lookup.draft(tokens[6:], price=0) == []
