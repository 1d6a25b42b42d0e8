"""Scoring: the probabilities of given continuations of a prompt.

They run in the batch loop like answers. Only the choice of tokens differs: they are known, so all
of them are drafted and every draft is accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from ..prompt.control_marks import GUARD
from .events import Logprob, Scored
from .llama_model import LlamaModel
from .long_text import is_long, newest
from .prefix_tree import common_length
from .prompting import Prompter
from .protocol import ChatPrompt
from .rerank_prompt import TOO_LONG
from .sampling import Allowed
from .sequence import Sequence, SequenceParams


class Continuation:
    """Known tokens in place of a sampler and of an n-gram lookup."""

    is_greedy = False
    is_quick = True

    def __init__(self, tokens: list[int]) -> None:
        self._tokens = tokens
        self._next = 0

    def choose(self, logits: NDArray[np.float32], constraint: Allowed | None = None) -> int:
        """Return the next token, whatever its probability."""
        return self._tokens[self._next]

    def accept(self, token: int) -> None:
        """Advance to the next token."""
        self._next += 1

    def draft(self, tokens: Many[int], price: float) -> list[int]:
        """Return all further tokens."""
        return self._tokens[self._next :]

    def record(self, chosen: Many[int]) -> None:
        """Learn nothing."""

    def forget(self) -> None:
        """Keep the tokens, which do not depend on the sequence."""


class ScoreJob:
    """The continuations of one request, and the log-probabilities of those that are scored."""

    def __init__(self, request: int, prompt_tokens: int) -> None:
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._found: dict[Sequence, list[Logprob]] = {}
        self._missing = 0

    def add(self, sequence: Sequence) -> None:
        """Add the sequence of the next continuation."""
        self._found[sequence] = []
        self._missing += 1

    def end(self, sequence: Sequence) -> list[Scored]:
        """Store the log-probabilities of a sequence; return the answer after the last one."""
        self._found[sequence] = list(sequence.logprobs)
        self._missing -= 1
        if self._missing:
            return []
        cached = sum(sequence.cache.reused for sequence in self._found)
        return [Scored(self._request, self._prompt_tokens, cached, list(self._found.values()))]


def score_sequences(
    request: int,
    prompt: list[int],
    continuations: list[list[int]],
    num_ctx: int,
    account: int,
) -> list[Sequence]:
    """Return a sequence for each continuation; they share the prompt. Raises OllamaError(400)."""
    if len(prompt) + max(map(len, continuations)) > num_ctx:
        raise OllamaError(400, TOO_LONG)
    job = ScoreJob(request, len(prompt))
    sequences = []
    for tokens in continuations:
        continuation = Continuation(tokens)
        params = SequenceParams(
            request=request,
            num_ctx=num_ctx,
            num_predict=len(tokens),
            stream=False,
            top_logprobs=0,
            account=account,
        )
        sequence = Sequence(params, list(prompt), continuation, score=job, lookup=continuation)
        job.add(sequence)
        sequences.append(sequence)
    return sequences


def split(
    model: LlamaModel,
    prompt: str,
    continuations: list[str],
    *,
    num_ctx: int | None = None,
    parse_special: bool = False,
    check: Callable[[], None] = lambda: None,
) -> tuple[list[int], list[list[int]]]:
    """Return the common first tokens of all texts, and the further tokens of each.

    Where the end of the prompt and the beginning of a continuation form one token, all of them are
    scored from that token on, so that they stay comparable. Names of special tokens are text
    unless ``parse_special``. ``check`` is called between texts. Raises OllamaError(400), also for a
    prompt that is much longer than ``num_ctx`` tokens.
    """
    if num_ctx and is_long(prompt, num_ctx):
        part = partial(model.tokenize, special=False, parse_special=parse_special)
        if newest(prompt, num_ctx, part).skipped:
            raise OllamaError(400, TOO_LONG)

    def tokenize(text: str) -> list[int]:
        check()
        return model.tokenize(prompt + text, special=True, parse_special=parse_special)

    return _parted(model, tokenize, continuations)


def split_chat(
    prompter: Prompter,
    model: LlamaModel,
    prompt: ChatPrompt,
    continuations: list[str],
    num_ctx: int,
    *,
    check: Callable[[], None] = lambda: None,
    may_be_slow: bool = True,
) -> tuple[list[int], list[list[int]]]:
    """Return what `split` returns, for continuations that begin the next message.

    Names of special tokens are special tokens where the template wrote them, and text in messages
    and continuations. For ``may_be_slow`` see `Prompter.render`. Raises OllamaError(400).
    """
    rendered = prompter.render(prompt, num_ctx, may_be_slow=may_be_slow)

    def tokenize(text: str) -> list[int]:
        check()
        guarded = model.control_marks.guarded(text.replace(GUARD, 2 * GUARD))
        whole = rendered._replace(guarded=rendered.guarded + guarded)
        read = prompter.tokens(prompt, whole, num_ctx)
        if read.skipped:
            raise OllamaError(400, TOO_LONG)
        return read.tokens

    return _parted(model, tokenize, continuations)


def _parted(
    model: LlamaModel, tokenize: Callable[[str], list[int]], continuations: list[str]
) -> tuple[list[int], list[list[int]]]:
    """Return the common first tokens and the rests; ``tokenize`` puts a prompt before a text."""
    whole = [tokenize(text) for text in continuations]
    alone = tokenize("")
    length = min(common_length(alone, tokens, 0) for tokens in whole)
    rests = [tokens[length:] for tokens in whole]
    if not all(rests):
        raise OllamaError(400, "each of the continuations must have a token of its own")
    # The probability of the first token needs a token before it.
    return alone[:length] or [model.filler_token], rests
