"""Speculation without a draft model: the tokens that followed an n-gram before may follow it again.

This is prompt lookup decoding (Saxena 2023), extended to the answer. Prompts are quoted, code
repeats itself, lists have a form: there several tokens are decoded in one step and the wrong ones
discarded. Elsewhere it costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

NGRAM = 3
"""Tokens that must have occurred before for their continuation to be proposed."""

LONGEST = 12
"""Tokens of a proposal."""

FIRST_RATE = 0.6
"""The assumed fraction of correct proposals before any was verified."""


class NgramLookup:
    """Proposes the next tokens of one sequence and learns how often it is right."""

    def __init__(self) -> None:
        self.proposal: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._seen = 0
        self._rate = FIRST_RATE

    def draft(self, tokens: Sequence[int], price: float) -> list[int]:
        """Return tokens worth decoding ahead.

        ``price`` is the cost of one more token in a batch, as a fraction of a token's worth: a
        token is drafted if the probability that it is used is higher.
        """
        self._learn(tokens)
        start = self._after.get(tuple(tokens[-NGRAM:]), len(tokens))
        # Negative tokens stand for images.
        self.proposal = list(takewhile(lambda t: t >= 0, tokens[start : start + LONGEST]))
        count, likely = 0, self._rate
        while count < len(self.proposal) and likely > price:
            count += 1
            likely *= self._rate
        return self.proposal[:count]

    def _learn(self, tokens: Sequence[int]) -> None:
        for end in range(max(self._seen, NGRAM), len(tokens)):
            self._after[tuple(tokens[end - NGRAM : end])] = end
        self._seen = len(tokens)

    def record(self, chosen: Sequence[int]) -> None:
        """Learn from the chosen tokens, also where the proposal was not drafted."""
        for proposed, token in zip(self.proposal, chosen, strict=False):
            self._rate += ((proposed == token) - self._rate) * 0.1
            if proposed != token:
                break

    def forget(self) -> None:
        """Start again after tokens were removed from the sequence."""
        self._after.clear()
        self._seen = 0
