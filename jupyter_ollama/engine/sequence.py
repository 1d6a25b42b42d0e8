"""One answer in the making: its tokens, what the KV cache holds of them, and its limits."""

from __future__ import annotations

import sys
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .lookup import Lookup
from .protocol import Logprob
from .sampling import Sampler
from .text_stream import TextStream

if TYPE_CHECKING:
    from ..parsing.parsed import Parser
    from .answers import AfterThinking
    from .constraint import TokenConstraint
    from .progress import PromptProgress
    from .prompting import Span
    from .score import Continuation, ScoreJob


@dataclass(slots=True, eq=False)
class Sequence:
    """A prompt and the tokens generated after it.

    The KV cache holds ``tokens[:cached]`` at positions 0 to ``cached``; the rest is still to be
    decoded, ``scheduled`` of it in the batch under way together with ``drafts``, tokens that may
    follow. ``row`` is where the batch's logits for this sequence begin (-1: it has none). ``slot``
    is llama.cpp's sequence id while the sequence runs. Any thread may set ``over``; the batch loop
    then lets go of the sequence. ``media`` are the images among the tokens, where negative numbers
    stand for them. ``logprobs`` go from the batch loop to the output thread, one for
    each token if ``top_logprobs`` is not None. One with a ``score`` is given what it goes on with.
    Times are perf_counter nanoseconds.
    """

    request: int
    tokens: list[int]
    sampler: Sampler | Continuation
    text: TextStream
    num_ctx: int
    num_predict: int
    num_keep: int
    shift: bool
    truncated: int = 0
    draft_num_predict: int = 0
    return_context: bool = False
    stream: bool = True
    constraint: TokenConstraint | AfterThinking | None = None
    parser: Parser | None = None
    media: list[Span] = field(default_factory=list)
    top_logprobs: int | None = None
    progress: PromptProgress | None = None
    score: ScoreJob | None = None

    slot: int = -1
    cached: int = 0
    scheduled: int = 0
    row: int = -1
    drafts: list[int] = field(default_factory=list)
    mask: Future[None] | None = None
    lookup: Lookup | Continuation = field(default_factory=Lookup)
    generated: int = 0
    told: int = 0
    over: bool = False
    started: int = 0
    first_token: int = 0
    prompt: list[int] = field(init=False)
    logprobs: deque[Logprob] = field(default_factory=deque)
    answer: list[int] = field(default_factory=list)

    # What the prefix cache knows: the age of the sequence, how much it got without reading, how
    # many first tokens nothing was taken out of, whom it waits for and until where, and up to
    # where others wait for it.
    order: int = 0
    reused: int = 0
    exact: int = sys.maxsize
    leader: Sequence | None = None
    meeting_point: int = 0
    followed_until: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.prompt = list(self.tokens)

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
    def next_media(self) -> Span | None:
        """The image that is being decoded or comes next, None behind the last."""
        spans = (s for s in self.media if self.cached < s.start + s.media.n_tokens)
        return next(spans, None)

    def append(self, token: int) -> None:
        """Take a sampled token."""
        if not self.generated:
            self.first_token = time.perf_counter_ns()
        self.generated += 1
        self.tokens.append(token)
        if self.return_context:
            self.answer.append(token)

    def discard(self, keep: int, count: int) -> None:
        """Forget ``count`` tokens after the first ``keep``, as the KV cache has done."""
        del self.tokens[keep : keep + count]
        self.cached -= count
        self.exact = min(self.exact, keep)
        self.lookup.forget()
