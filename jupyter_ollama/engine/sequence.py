"""One answer in progress: its parameters, its tokens, and its state in cache, step and output."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence as Many
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from .events import Event, Logprob
from .ngram_lookup import NgramLookup
from .sampling import Allowed
from .text_stream import TextStream

if TYPE_CHECKING:
    from ..parsing.parsed import Parser
    from .account_trees import SystemPrefix
    from .constraint import TokenConstraint
    from .progress import PromptProgress
    from .prompting import MediaSpan
    from .reading_order import Reading
    from .repetition import RepetitionDetector
    from .thinking_phase import ThinkingPhase


class FinishReason(StrEnum):
    """Why an answer ended, as clients read it."""

    STOP = "stop"
    LENGTH = "length"
    CANCEL = "cancel"


class StepOutput(msgspec.Struct, frozen=True, gc=False):
    """A token that a sequence got, and why the sequence ends. At most one of them is None."""

    sequence: Sequence
    token: int | None
    finish: FinishReason | None = None


class TokenChooser(Protocol):
    """Chooses the next token of a sequence: a sampler, or a continuation that is known already."""

    @property
    def is_greedy(self) -> bool:
        """True if the choice is the largest logit."""

    @property
    def is_quick(self) -> bool:
        """True if the choice takes less time than handing it to a thread."""

    def choose(self, logits: NDArray[np.float32], constraint: Allowed | None = None) -> int:
        """Return a token by its logits (n_vocab), one that ``constraint`` allows."""

    def accept(self, token: int) -> None:
        """Count a token that was appended."""


class DraftSource(Protocol):
    """Proposes the next tokens of a sequence without a model."""

    def draft(self, tokens: Many[int], price: float) -> list[int]:
        """Return tokens worth decoding ahead; see `NgramLookup.draft` for ``price``."""

    def record(self, chosen: Many[int]) -> None:
        """Learn which tokens were chosen."""

    def forget(self) -> None:
        """Start again after tokens were removed from the sequence."""


class ScoreSink(Protocol):
    """Collects the log-probabilities of sequences that score continuations."""

    def end(self, sequence: Sequence) -> Many[Event]:
        """Take the result of a sequence that ended; return the events that complete a request."""


@dataclass(slots=True, frozen=True, kw_only=True)
class SequenceParams:
    """The parameters of one request, constant while it runs.

    ``truncated`` counts the prompt tokens that did not fit into ``num_ctx``. ``media`` are the
    images among the tokens, where negative numbers stand for them. Without ``top_logprobs`` no
    log-probabilities are computed. ``account``, ``system`` and ``adapters``, the number of a set of
    adapters, decide which sequences may fork this one: see ``account_trees``.
    """

    request: int
    num_ctx: int
    num_predict: int
    num_keep: int = 0
    shift: bool = False
    truncated: int = 0
    draft_num_predict: int = 0
    return_context: bool = False
    stream: bool = True
    top_logprobs: int | None = None
    media: Many[MediaSpan] = ()
    account: int = 0
    system: SystemPrefix | None = None
    adapters: int = 0


@dataclass(slots=True, eq=False)
class CacheState:
    """The part of a sequence that the KV cache holds. Written by the batch loop and PrefixCache.

    The cache holds the first ``cached`` of ``tokens`` in ``slot``, llama.cpp's sequence id while
    the sequence runs. ``reused`` tokens were forked, not decoded. The cache prefix is unmodified up
    to ``exact`` tokens; the first ``alone`` were computed while no other sequence ran. ``readings``
    are the parts that were read as prompts. The sequence waits for its ``leader`` to decode the
    tokens up to ``meeting_point``, as others do for it up to each of ``followed_until``. ``order``
    grows with the time of admission.
    """

    tokens: list[int]
    account: int = 0
    system: SystemPrefix | None = None
    media: Many[MediaSpan] = ()
    adapters: int = 0
    slot: int = -1
    cached: int = 0
    reused: int = 0
    exact: int = sys.maxsize
    alone: int = sys.maxsize
    readings: list[Reading] = field(default_factory=list)
    order: int = 0
    leader: CacheState | None = None
    meeting_point: int = 0
    followed_until: list[int] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """Tokens to decode before the next one can be sampled; 1 while generating."""
        return len(self.tokens) - self.cached

    def position(self, index: int) -> int:
        """Return the position of the token at ``index``: images may take fewer than tokens."""
        if not self.media:
            return index
        before = [s.media for s in self.media if s.start + s.media.n_tokens <= index]
        return index - sum(media.n_tokens - media.n_pos for media in before)

    def whole(self, length: int) -> int:
        """Return how many of the first ``length`` tokens end with no part of an image."""
        for start, media in self.media:
            if start < length < start + media.n_tokens:
                return start
        return length

    @property
    def next_media(self) -> MediaSpan | None:
        """The image that is being decoded or comes next, None behind the last."""
        spans = (s for s in self.media if self.cached < s.start + s.media.n_tokens)
        return next(spans, None)


@dataclass(slots=True, eq=False)
class StepState:
    """The part of a sequence in the current batch. Written by the batch builder and the selector.

    ``scheduled`` tokens and the ``drafts`` that may follow them are in the batch. The logits of the
    sequence begin at ``row`` of the batch's output, -1 without any. ``mask`` is done when the
    constraint knows which tokens may follow.
    """

    scheduled: int = 0
    row: int = -1
    drafts: list[int] = field(default_factory=list)
    mask: Future[None] | None = None


@dataclass(slots=True, eq=False)
class OutputState:
    """The text of an answer. Written by the thread that sends it: see `Output`.

    ``emitted`` tokens have become text. ``repeats`` is set where ``repetition`` found that the
    answer only repeats itself, which ends it.
    """

    text: TextStream = field(default_factory=lambda: TextStream(()))
    parser: Parser | None = None
    repetition: RepetitionDetector | None = None
    emitted: int = 0
    repeats: bool = False


@dataclass(slots=True, eq=False)
class Sequence:
    """A prompt and the tokens generated after it.

    Any thread may set ``over``; the batch loop then releases the sequence. ``logprobs`` are passed
    from the batch loop to the output thread, one for each token if the parameters ask for them.
    Times are perf_counter nanoseconds.
    """

    params: SequenceParams
    tokens: list[int]
    sampler: TokenChooser
    output: OutputState = field(default_factory=OutputState)
    constraint: TokenConstraint | ThinkingPhase | None = None
    progress: PromptProgress | None = None
    score: ScoreSink | None = None
    lookup: DraftSource = field(default_factory=NgramLookup)

    cache: CacheState = field(init=False)
    step: StepState = field(default_factory=StepState, init=False)
    prompt: list[int] = field(init=False)
    answer: list[int] = field(default_factory=list, init=False)
    logprobs: deque[Logprob] = field(default_factory=deque, init=False)
    generated: int = field(default=0, init=False)
    over: bool = field(default=False, init=False)
    started: int = field(default=0, init=False)
    first_token: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        params = self.params
        self.prompt = list(self.tokens)
        system = params.system and params.system.computed_with(params.adapters)
        self.cache = CacheState(self.tokens, params.account, system, params.media, params.adapters)

    def append(self, token: int) -> None:
        """Append a sampled token."""
        if not self.generated:
            self.first_token = time.perf_counter_ns()
        self.generated += 1
        self.tokens.append(token)
        if self.params.return_context:
            self.answer.append(token)

    def discard(self, keep: int, count: int) -> None:
        """Forget ``count`` tokens after the first ``keep``, as the KV cache has done."""
        del self.tokens[keep : keep + count]
        self.cache.cached -= count
        self.cache.exact = min(self.cache.exact, keep)
        self.lookup.forget()
