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
    """Known tokens in place of a sampler and of an n-gram lookup.

    ``lasts`` are the last tokens of all continuations that are alike before. Their
    log-probabilities follow from the same logits, and are in ``logprobs`` at the end.
    """

    is_greedy = False
    is_quick = True

    def __init__(self, tokens: list[int], lasts: Many[int] = ()) -> None:
        self._tokens = tokens
        self._lasts = list(lasts)
        self._next = 0
        self.logprobs: list[float] = []

    def choose(self, logits: NDArray[np.float32], constraint: Allowed | None = None) -> int:
        """Return the next token, whatever its probability."""
        if self._next == len(self._tokens) - 1:
            most = logits.max()
            whole = most + np.log(np.exp(logits - most).sum())
            self.logprobs = (logits[self._lasts] - whole).tolist()
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
    """The continuations of one request, and the log-probabilities of those that are scored.

    ``piece`` returns the bytes of a token.
    """

    def __init__(
        self,
        request: int,
        prompt_tokens: int,
        continuations: Many[list[int]],
        piece: Callable[[int], bytes],
    ) -> None:
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._continuations = continuations
        self._piece = piece
        self._found: list[list[Logprob]] = [[] for _ in continuations]
        self._waiting: dict[Sequence, tuple[list[int], Continuation]] = {}
        self._cached = 0

    def add(self, sequence: Sequence, places: list[int], continuation: Continuation) -> None:
        """Add a sequence that scores the continuations at ``places``."""
        self._waiting[sequence] = places, continuation

    def end(self, sequence: Sequence) -> list[Scored]:
        """Store the log-probabilities of a sequence; return the answer after the last one."""
        places, continuation = self._waiting.pop(sequence)
        self._cached += sequence.cache.reused
        before = list(sequence.logprobs)[:-1]
        for place, logprob in zip(places, continuation.logprobs, strict=True):
            last = Logprob(self._piece(self._continuations[place][-1]), logprob)
            self._found[place] = [*before, last]
        if self._waiting:
            return []
        return [Scored(self._request, self._prompt_tokens, self._cached, self._found)]


def score_sequences(
    request: int,
    prompt: list[int],
    continuations: list[list[int]],
    num_ctx: int,
    account: int,
    piece: Callable[[int], bytes],
    adapters: int = 0,
) -> list[Sequence]:
    """Return the sequences that score continuations; they share the prompt.

    Continuations that differ in their last token alone share a sequence: for single words the
    prompt's last position gives all probabilities. ``piece`` returns the bytes of a token. Raises
    OllamaError(400).
    """
    if len(prompt) + max(map(len, continuations)) > num_ctx:
        raise OllamaError(400, TOO_LONG)
    job = ScoreJob(request, len(prompt), continuations, piece)
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, tokens in enumerate(continuations):
        alike.setdefault(tuple(tokens[:-1]), []).append(place)
    sequences = []
    for places in alike.values():
        tokens = continuations[places[0]]
        continuation = Continuation(tokens, [continuations[place][-1] for place in places])
        params = SequenceParams(
            request=request,
            num_ctx=num_ctx,
            num_predict=len(tokens),
            stream=False,
            top_logprobs=0,
            account=account,
            adapters=adapters,
        )
        sequence = Sequence(params, list(prompt), continuation, score=job, lookup=continuation)
        job.add(sequence, places, continuation)
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
