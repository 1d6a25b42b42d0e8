"""Builds the next batch: a token of every stream, its drafts, and a part of the prompts."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from .batch import Batch
from .drafter import Drafter, DraftRequest
from .llama_context import LlamaContext
from .prefix_cache import PrefixCache
from .reading_order import FILLED_FROM, missing, next_count
from .sequence import Sequence
from .step_costs import ALONE, BESIDE_STREAMS, BESIDE_UNSEEN, EXPECTING_STREAMS, StepCosts

SHORT_RUN = 32
"""Tokens without a choice (a constraint forces them) that are decoded like a single one."""

UNSEEN_PART = 4
"""One of so many prompt tokens belongs to answers that are not streamed, so that they progress."""

OLDEST_PART, OLDEST_UNSEEN_PART = 4, 2
"""One of so many prompt tokens belongs to the oldest prompt, of streams and of others. A long
prompt, and all that its account asks after it, would otherwise wait for as long as other accounts
ask shorter questions. A larger part would delay their first tokens."""

SOLO_PRICE = 0.5
"""The cost of one more token in a step of a stream that runs alone, as a fraction of the cost of a
token, where equal requests must get equal answers. A measured price would decide by chance which
tokens are decoded together, which rounds them differently."""

CELLS_FOR_OTHERS = 256
"""Cells that fillers leave beside those of running sequences, where idle prefixes may be."""

EXPECTED = 10.0
"""Seconds after a stream for which another one is expected."""


def by_account(sequences: list[Sequence]) -> list[Sequence]:
    """Order prompts to be read: the account with the fewest tokens to read is first.

    So a question does not wait for all the long prompts of another account, which are read in the
    part of the oldest prompt meanwhile. The prompts of one account keep their order.
    """
    pending: Counter[int] = Counter()
    for sequence in sequences:
        pending[sequence.params.account] += sequence.cache.pending
    if len(pending) < 2:
        return sequences
    return sorted(sequences, key=lambda sequence: pending[sequence.params.account])


class SoloMode(NamedTuple):
    """How a sequence that runs alone is computed: in batches that depend on it alone.

    ``companion`` is a filler token that completes parts of prompts, in a sequence of its own. With
    ``by_tile`` a prompt is read by single tiles, with ``fills`` its remainder is completed to one
    (see ``reading_order``). ``worth`` and ``price`` replace the measured ones for its drafter, see
    DraftCosts.
    """

    companion: int
    by_tile: bool
    fills: bool
    worth: float
    price: float


class BatchBuilder:
    """Fills the batch of a context."""

    def __init__(
        self,
        context: LlamaContext,
        batch: Batch,
        cache: PrefixCache,
        costs: StepCosts,
        drafter: Drafter | None,
        solo: SoloMode | None = None,
    ) -> None:
        """Without ``solo`` a sequence that runs alone is computed like any other."""
        self._context = context
        self._batch = batch
        self._cache = cache
        self._costs = costs
        self._drafter = drafter
        self._solo = solo
        self._companion_id = -1
        self._is_solo = False
        self._was_short = False
        self._is_shared = False
        self._has_streams_elsewhere = False
        self._stream_at = -EXPECTED

    def fill(self, running: list[Sequence], adapters: int) -> tuple[int, int]:
        """Put the next tokens of all running sequences with such adapters into the empty batch.

        Returns the number of streams (sequences that have begun to answer) and of their drafts.
        """
        if any(sequence.params.stream for sequence in running):
            self._stream_at = time.monotonic()
        active = [sequence for sequence in running if not self._cache.follow(sequence.cache)]
        if self._solo:
            self._is_solo = len(active) == 1 and self._cache.is_in_order(active[0].cache)
            if not self._is_solo:
                self._cache.mix(sequence.cache for sequence in running)
        self._is_shared = any(sequence.params.account for sequence in running)
        for sequence in running:
            step = sequence.step
            step.scheduled, step.row, step.drafts = 0, -1, []
        mine = [sequence for sequence in running if sequence.params.adapters == adapters]
        elsewhere = (s for s in running if s.params.adapters != adapters)
        self._has_streams_elsewhere = any(map(self._is_stream, elsewhere))
        streams = [sequence for sequence in mine if self._is_stream(sequence)]
        others = [s for s in mine if s not in streams]
        # The first token of a stream is waited for; whole answers have no such deadline.
        seen = by_account([sequence for sequence in others if sequence.params.stream])
        unseen = by_account([sequence for sequence in others if not sequence.params.stream])
        if self._is_first_token_due(streams, seen):
            streams, unseen = [s for s in streams if s.params.stream], []
        drafted = self._put_streams(streams, self._context.max_outputs - len(running))
        chunk = self._chunk(streams, self._seconds(streams))
        read = self._read(seen, chunk - (chunk // UNSEEN_PART if unseen else 0), OLDEST_PART)
        if self._expects_streams:
            chunk = min(chunk, read + self._chunk(streams, EXPECTING_STREAMS))
        self._read(unseen, chunk - read, OLDEST_UNSEEN_PART)
        if self._solo and not self._is_solo:
            deep = (s for s in others if s.cache.cached >= FILLED_FROM)
            needed = self._costs.fillers(self._batch.size, sum(s.step.scheduled for s in deep))
            used = sum(len(one.tokens) for one in running) + CELLS_FOR_OTHERS
            self._add_fillers(needed, used, self._solo)
        return len(streams), drafted

    @staticmethod
    def _is_stream(sequence: Sequence) -> bool:
        cache = sequence.cache
        return bool(sequence.generated) and cache.pending <= SHORT_RUN and not cache.next_media

    def _is_first_token_due(self, streams: list[Sequence], seen: list[Sequence]) -> bool:
        """True if the next step should be short and leave out whole answers.

        That is if it can read all prompts of streams. Every other step includes whole answers.
        """
        pending = sum(sequence.cache.pending for sequence in seen)
        most = self._chunk(streams, self._seconds(streams))
        self._was_short = 0 < pending <= most and not self._was_short
        return self._was_short

    @property
    def _expects_streams(self) -> bool:
        """True if an answer is streamed now or was a moment ago."""
        return self._stream_at > time.monotonic() - EXPECTED

    @property
    def seconds_beside(self) -> float:
        """How long a step of other work may last, so that a first token waits no longer for it."""
        return EXPECTING_STREAMS if self._expects_streams else BESIDE_UNSEEN

    def _seconds(self, streams: list[Sequence]) -> float:
        """Return how long the next step may last."""
        if self._is_shared and self._expects_streams:
            return BESIDE_STREAMS  # another user may send a request at any moment
        if not streams and not self._has_streams_elsewhere:
            return ALONE
        return BESIDE_STREAMS if self._expects_streams else BESIDE_UNSEEN

    def _chunk(self, streams: list[Sequence], seconds: float) -> int:
        """Return how many tokens of prompts the batch may take beside ``streams``."""
        # Other users may ask at any moment, and would wait for the end of a longer step.
        chunk = self._costs.chunk(len(streams), seconds, may_be_longer=not self._is_shared)
        return min(chunk, self._batch.remaining)

    def _read(self, sequences: list[Sequence], chunk: int, oldest_part: int) -> int:
        """Put up to ``chunk`` tokens of prompts into the batch; return how many.

        The prompts are read in their order. One of ``oldest_part`` tokens is reserved for the
        prompt that was admitted first.
        """
        oldest = min(sequences, key=lambda one: one.started, default=None)
        reserved = 0
        if oldest and oldest.params.account != sequences[0].params.account:
            reserved = -(-chunk // oldest_part)
        left = chunk - reserved
        for sequence in sequences:
            if sequence is oldest:
                left, reserved = left + reserved, 0
            if left <= 0 or self._cache.follow(sequence.cache):
                continue
            if self._solo and self._is_solo:
                left = min(left, self._batch.remaining)
                left = next_count(
                    sequence.cache.cached,
                    len(sequence.tokens),
                    left,
                    by_tile=self._solo.by_tile,
                    fills=self._solo.fills,
                )
                left = min(left, self._batch.remaining)
            taken = min(left, self._until_image(sequence), self._until_meeting(sequence))
            if taken:
                self._put(sequence, taken)
                left -= taken
                if self._solo and self._is_solo:
                    done, fills = sequence.cache.cached, self._solo.fills
                    needed = missing(self._batch.size, done, fills=fills)
                    self._add_fillers(needed, len(sequence.tokens), self._solo)
                    return taken
        return chunk - reserved - left

    def _add_fillers(self, needed: int, used: int, solo: SoloMode) -> None:
        """Add filler tokens, so that the kernels for many tokens compute the whole batch.

        There are ``used`` cells, or less.
        """
        spare = self._cache.spare_id
        count = min(needed, self._batch.remaining, self._context.cells - used)
        if count <= 0 or spare < 0 or self._context.is_recurrent:
            return
        self._batch.add([solo.companion] * count, 0, spare, outputs="none")
        self._companion_id = spare

    def forget_companion(self) -> None:
        """Free the cells of filler tokens after the batch."""
        if self._companion_id >= 0:
            self._context.forget(self._companion_id)
            self._companion_id = -1

    def _put_streams(self, streams: list[Sequence], spare_outputs: int) -> int:
        drafted = 0
        plain = []
        spare = min(self._batch.remaining - len(streams), spare_outputs)
        spare = self._draft(streams, spare)
        for sequence in streams:
            pending, drafts = sequence.cache.pending, sequence.step.drafts
            if pending == 1 and not drafts:
                plain.append(sequence)
                continue
            count = min(pending, spare + 1)
            self._put(sequence, count)
            drafted, spare = drafted + len(drafts) + count - 1, spare - count + 1
        first = self._batch.outputs
        caches = [sequence.cache for sequence in plain]
        self._batch.add_newest(
            [sequence.tokens[-1] for sequence in plain],
            [cache.position(cache.cached) for cache in caches],
            [cache.slot for cache in caches],
        )
        for row, sequence in enumerate(plain, first):
            sequence.step.scheduled, sequence.step.row = 1, row
        return drafted

    def _draft(self, streams: list[Sequence], spare: int) -> int:
        """Give streams their drafts; return how many of ``spare`` tokens remain.

        ``spare`` is the space of the batch beside the streams. N-gram lookup comes first, since it
        costs nothing; the drafter is used where lookup finds nothing.
        """
        price = SOLO_PRICE if self._is_solo else self._costs.price(len(streams))
        if self._context.is_recurrent:
            price = 1.0
        requests = []
        for sequence in streams:
            if sequence.constraint or sequence.cache.pending > 1:
                continue
            params, step = sequence.params, sequence.step
            limit = min(
                spare,
                params.num_ctx - len(sequence.tokens),
                params.num_predict - sequence.generated - 1,
            )
            step.drafts = sequence.lookup.draft(sequence.tokens, price)[: max(limit, 0)]
            spare -= len(step.drafts)
            if self._context.is_recurrent:
                limit = min(limit, self._context.snapshots)
            if self._can_use_drafter(sequence) and min(limit, params.draft_num_predict) > 0:
                requests.append(DraftRequest(sequence, limit))
        if self._drafter and requests:
            fair = spare // len(requests)
            limited = [DraftRequest(one.sequence, min(one.limit, fair)) for one in requests]
            count = len(streams)
            worth, price = self._costs.worth(count), self._costs.safe_price(count)
            if self._solo and self._is_solo:
                worth, price = self._solo.worth, self._solo.price
            self._drafter.is_solo = self._is_solo
            self._drafter.draft(limited, count, worth, price)
            spare -= sum(len(one.sequence.step.drafts) for one in requests)
        return spare

    def _can_use_drafter(self, sequence: Sequence) -> bool:
        """True if the drafter may draft for a sequence."""
        if self._drafter is None or sequence.step.drafts:
            return False
        return self._drafter.reads_images or not sequence.params.media

    def _until_image(self, sequence: Sequence) -> int:
        """Return how many tokens may be read before the next image; 0 within one."""
        cache = sequence.cache
        span = cache.next_media
        return max(span.start - cache.cached, 0) if span else cache.pending

    def _until_meeting(self, sequence: Sequence) -> int:
        """Return how many tokens a sequence may read before another one forks from it."""
        cache = sequence.cache
        if not self._context.is_recurrent:
            return cache.pending
        ahead = [p - cache.cached for p in cache.followed_until if p > cache.cached]
        return min(ahead, default=cache.pending)

    def _put(self, sequence: Sequence, count: int) -> None:
        """Schedule ``count`` tokens and the drafts; logits come with the last and with drafts."""
        cache, step = sequence.cache, sequence.step
        tokens = sequence.tokens[cache.cached : cache.cached + count]
        position = cache.position(cache.cached)
        step.scheduled, step.row = count, -1
        if count < cache.pending:
            self._batch.add(tokens, position, cache.slot, outputs="none")
            return
        step.row = self._batch.outputs
        self._batch.add(tokens, position, cache.slot, outputs="last")
        if step.drafts:
            self._batch.add(step.drafts, position + count, cache.slot, outputs="all")
