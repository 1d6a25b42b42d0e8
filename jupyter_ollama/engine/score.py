"""Scoring: how likely a model takes given continuations of a prompt to be.

They run in the batch loop like answers. What is special is only the choice of tokens: it has been
made, so all that is still to come is drafted and every draft is right.
"""

from __future__ import annotations

from collections.abc import Sequence as Many

import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from .llama_model import LlamaModel
from .pair import TOO_LONG
from .prefix_tree import common_length
from .protocol import Logprob, Score, Scored
from .sampling import Allowed
from .sequence import Sequence
from .text_stream import TextStream


class Continuation:
    """Known tokens in the place of a sampler, and in that of a lookup."""

    is_greedy = False
    is_quick = True

    def __init__(self, tokens: list[int]) -> None:
        self._tokens = tokens
        self._next = 0

    def choose(self, logits: NDArray[np.float32], constraint: Allowed | None = None) -> int:
        """Return the next token, however likely it is."""
        return self._tokens[self._next]

    def accept(self, token: int) -> None:
        """Pass on to the token after the next."""
        self._next += 1

    def draft(self, tokens: Many[int], price: float) -> list[int]:
        """Return all tokens that are still to come."""
        return self._tokens[self._next :]

    def record(self, chosen: Many[int]) -> None:
        """Learn nothing."""

    def forget(self) -> None:
        """Keep what is known: it does not come from the sequence."""


class ScoreJob:
    """The continuations of one request, and the log-probabilities of those that are read."""

    def __init__(self, request: int, prompt_tokens: int) -> None:
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._found: dict[Sequence, list[Logprob]] = {}
        self._missing = 0

    def add(self, sequence: Sequence) -> None:
        """Take a sequence that scores the next continuation."""
        self._found[sequence] = []
        self._missing += 1

    def end(self, sequence: Sequence) -> list[Scored]:
        """Take what a sequence has found; return the answer with the last one."""
        self._found[sequence] = list(sequence.logprobs)
        self._missing -= 1
        if self._missing:
            return []
        cached = sum(sequence.reused for sequence in self._found)
        return [Scored(self._request, self._prompt_tokens, cached, list(self._found.values()))]


def score_sequences(model: LlamaModel, command: Score, num_ctx: int) -> list[Sequence]:
    """Return a sequence for each continuation; they share the prompt. Raises OllamaError(400)."""
    prompt, continuations = split(model, command.prompt, command.continuations)
    if len(prompt) + max(map(len, continuations)) > num_ctx:
        raise OllamaError(400, TOO_LONG)
    job = ScoreJob(command.request, len(prompt))
    sequences = []
    for tokens in continuations:
        continuation = Continuation(tokens)
        sequence = Sequence(
            command.request,
            list(prompt),
            continuation,
            TextStream([]),
            num_ctx=num_ctx,
            num_predict=len(tokens),
            num_keep=0,
            shift=False,
            stream=False,
            top_logprobs=0,
            score=job,
            lookup=continuation,
        )
        job.add(sequence)
        sequences.append(sequence)
    return sequences


def split(
    model: LlamaModel, prompt: str, continuations: list[str]
) -> tuple[list[int], list[list[int]]]:
    """Return the tokens that all texts begin with, and what follows them in each.

    Where the end of the prompt and the beginning of a continuation make one token, all of them are
    scored from before that token on, so that they stay comparable. Raises OllamaError(400).
    """
    whole = [model.tokenize(prompt + text, special=True) for text in continuations]
    alone = model.tokenize(prompt, special=True)
    length = min(common_length(alone, tokens, 0) for tokens in whole)
    rests = [tokens[length:] for tokens in whole]
    if not all(rests):
        raise OllamaError(400, "each of the continuations must have a token of its own")
    # The first token is likely after something, too.
    return alone[:length] or [model.filler_token], rests
