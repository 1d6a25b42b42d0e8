"""What goes into the next batch: a token of every stream, what may follow it, a part of prompts."""

from __future__ import annotations

import time

from .drafter import Drafter, Wish
from .llama_context import Batch, LlamaContext
from .pace import ALONE, BESIDE_STREAMS, BESIDE_UNSEEN, EXPECTING_STREAMS, Pace
from .prefix_cache import PrefixCache
from .sequence import Sequence

SHORT_RUN = 32
"""Tokens without a choice (a constraint knows them) that are decoded like a single one."""

UNSEEN_PART = 4
"""One part in so many of what is read goes to answers that nobody sees grow, so that they come."""


EXPECTED = 10.0
"""Seconds after a stream for which another one is expected."""


class Filling:
    """Fills the batch of a context."""

    def __init__(
        self,
        context: LlamaContext,
        batch: Batch,
        cache: PrefixCache,
        pace: Pace,
        drafter: Drafter | None,
    ) -> None:
        self._context = context
        self._batch = batch
        self._cache = cache
        self._pace = pace
        self._drafter = drafter
        self._was_short = False
        self._stream_at = -EXPECTED

    def fill(self, running: list[Sequence]) -> tuple[int, int]:
        """Put the next tokens of every running sequence into the empty batch.

        Returns the number of streams (sequences that have begun to answer) and of their drafts.
        """
        if any(sequence.stream for sequence in running):
            self._stream_at = time.monotonic()
        streams = [
            s for s in running if s.generated and s.pending <= SHORT_RUN and not s.next_media
        ]
        others = [s for s in running if s not in streams]
        # Somebody waits for the first token of a stream; whole answers come when they come.
        seen = [sequence for sequence in others if sequence.stream]
        unseen = [sequence for sequence in others if not sequence.stream]
        for sequence in running:
            sequence.scheduled, sequence.row, sequence.drafts = 0, -1, []
        if self._is_first_token_due(streams, seen):
            streams, unseen = [s for s in streams if s.stream], []
        drafted = self._put_streams(streams, self._context.max_outputs - len(running))
        chunk = self._chunk(streams, self._seconds(streams))
        read = self._read(seen, chunk - (chunk // UNSEEN_PART if unseen else 0))
        if self._expects_streams:
            chunk = min(chunk, read + self._chunk(streams, EXPECTING_STREAMS))
        self._read(unseen, chunk - read)
        return len(streams), drafted

    def _is_first_token_due(self, streams: list[Sequence], seen: list[Sequence]) -> bool:
        """True if the next step is to be a short one, in which whole answers do not go on.

        That is, if all prompts of streams can be read in it. Every other step is for all.
        """
        pending = sum(sequence.pending for sequence in seen)
        most = self._chunk(streams, self._seconds(streams))
        self._was_short = 0 < pending <= most and not self._was_short
        return self._was_short

    @property
    def _expects_streams(self) -> bool:
        """True if somebody sees an answer grow, or did a moment ago."""
        return self._stream_at > time.monotonic() - EXPECTED

    def _seconds(self, streams: list[Sequence]) -> float:
        """Return how long the next step may last."""
        if not streams:
            return ALONE
        return BESIDE_STREAMS if self._expects_streams else BESIDE_UNSEEN

    def _chunk(self, streams: list[Sequence], seconds: float) -> int:
        """Return how many tokens of prompts the batch may take beside ``streams``."""
        return min(self._pace.chunk(len(streams), seconds), self._batch.room)

    def _read(self, sequences: list[Sequence], chunk: int) -> int:
        """Put up to ``chunk`` tokens of prompts into the batch; return how many."""
        left = chunk
        for sequence in sequences:
            if left <= 0 or self._cache.follow(sequence):
                continue
            taken = min(left, self._until_image(sequence), self._until_meeting(sequence))
            if taken:
                self._put(sequence, taken)
                left -= taken
        return chunk - left

    def _put_streams(self, streams: list[Sequence], spare_outputs: int) -> int:
        drafted = 0
        plain = []
        spare = min(self._batch.room - len(streams), spare_outputs)
        spare = self._draft(streams, spare)
        for sequence in streams:
            if sequence.pending == 1 and not sequence.drafts:
                plain.append(sequence)
                continue
            count = min(sequence.pending, spare + 1)
            self._put(sequence, count)
            drafted, spare = drafted + len(sequence.drafts) + count - 1, spare - count + 1
        first = self._batch.outputs
        self._batch.add_newest(
            [s.tokens[-1] for s in plain],
            [s.position(s.cached) for s in plain],
            [s.slot for s in plain],
        )
        for row, sequence in enumerate(plain, first):
            sequence.scheduled, sequence.row = 1, row
        return drafted

    def _draft(self, streams: list[Sequence], spare: int) -> int:
        """Give streams the tokens that may follow; return what is left of ``spare``.

        That is what the batch holds beside the streams. What followed before comes first, for it
        costs nothing; the draft model is asked where there was nothing like it.
        """
        price = 1.0 if self._context.is_recurrent else self._pace.price(len(streams))
        wishes = []
        for sequence in streams:
            if sequence.constraint or sequence.pending > 1:
                continue
            room = min(
                spare,
                sequence.num_ctx - len(sequence.tokens),
                sequence.num_predict - sequence.generated - 1,
            )
            sequence.drafts = sequence.lookup.draft(sequence.tokens, price)[: max(room, 0)]
            spare -= len(sequence.drafts)
            can_ask = not sequence.drafts and not sequence.media
            if can_ask and min(room, sequence.draft_num_predict) > 0:
                wishes.append(Wish(sequence, room))
        if self._drafter and wishes:
            fair = [Wish(wish.sequence, min(wish.room, spare // len(wishes))) for wish in wishes]
            count = len(streams)
            worth, price = self._pace.worth(count), self._pace.safe_price(count)
            self._drafter.draft(fair, count, worth, price)
            spare -= sum(len(wish.sequence.drafts) for wish in wishes)
        return spare

    def _until_image(self, sequence: Sequence) -> int:
        """Return how many tokens may be read before an image comes, which is 0 within one."""
        span = sequence.next_media
        return max(span.start - sequence.cached, 0) if span else sequence.pending

    def _until_meeting(self, sequence: Sequence) -> int:
        """Return how far a sequence may read before another one forks from it."""
        if not self._context.is_recurrent:
            return sequence.pending
        ahead = [p - sequence.cached for p in sequence.followed_until if p > sequence.cached]
        return min(ahead, default=sequence.pending)

    def _put(self, sequence: Sequence, count: int) -> None:
        """Schedule ``count`` tokens and the drafts; logits come with the last and with drafts."""
        tokens = sequence.tokens[sequence.cached : sequence.cached + count]
        position = sequence.position(sequence.cached)
        sequence.scheduled, sequence.row = count, -1
        if count < sequence.pending:
            self._batch.add(tokens, position, sequence.slot, outputs="none")
            return
        sequence.row = self._batch.outputs
        self._batch.add(tokens, position, sequence.slot, outputs="last")
        if sequence.drafts:
            self._batch.add(sequence.drafts, position + count, sequence.slot, outputs="all")
