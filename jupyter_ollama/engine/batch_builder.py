"""Builds the next batch: a token of every stream, its drafts, and a part of the prompts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection

from .batch import Batch
from .drafter import Drafter, DraftRequest
from .llama_context import LlamaContext
from .prefix_cache import PrefixCache
from .prompt_reader import PromptReader, SoloMode
from .sequence import Sequence
from .step_costs import (
    ALONE,
    BESIDE_STREAMS,
    BESIDE_UNSEEN,
    EXPECTING_STREAMS,
    LEAST_CHUNK,
    PrefillTime,
    StepContents,
    StepCosts,
    cells_before,
)

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

EXPECTED = 10.0
"""Seconds after a stream for which another one is expected."""


def by_account(
    sequences: list[Sequence],
    unread: Callable[[Sequence], int] = lambda sequence: sequence.cache.pending,
) -> list[Sequence]:
    """Order prompts to be read: the account with the fewest ``unread`` tokens is first.

    So a question does not wait for all the long prompts of another account, which are read in the
    part of the oldest prompt meanwhile. The prompts of one account keep their order.
    """
    pending: Counter[int] = Counter()
    for sequence in sequences:
        pending[sequence.params.account] += unread(sequence)
    if len(pending) < 2:
        return sequences
    return sorted(sequences, key=lambda sequence: pending[sequence.params.account])


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
        self._prompts = PromptReader(context, batch, cache, costs, solo)
        self._was_short = False
        self._is_shared = False
        self._has_streams_later = False
        self._stream_at = -EXPECTED

    def needs_short_steps(self, running: list[Sequence]) -> bool:
        """Return whether long prompts would delay running streams, or streams that are expected.

        Other users may request one at any moment.
        """
        if sum(sequence.cache.leader is None for sequence in running) < 2:
            return False
        is_delayed = any(s.params.account or self._is_stream(s) for s in running)
        return is_delayed and self._expects_streams

    def fill(
        self, running: list[Sequence], adapters: int, in_background: Collection[Sequence] = ()
    ) -> StepContents:
        """Put the next tokens of all running sequences with such adapters into the empty batch.

        Sequences whose prompts are read ``in_background`` are omitted.
        """
        if any(sequence.params.stream for sequence in running):
            self._stream_at = time.monotonic()
        active = [sequence for sequence in running if not self._cache.follow(sequence.cache)]
        if self._solo:
            is_one = len(active) == 1 and not in_background
            self._prompts.is_solo = is_one and self._cache.is_in_order(active[0].cache)
            if running and not self._prompts.is_solo:
                self._cache.mix(sequence.cache for sequence in running)
        self._is_shared = any(sequence.params.account for sequence in running)
        for sequence in running:
            step = sequence.step
            step.scheduled, step.row, step.drafts = 0, -1, []
        mine = [sequence for sequence in running if sequence.params.adapters == adapters]
        later = (s for s in running if s.params.adapters != adapters)
        self._has_streams_later = any(map(self._is_stream, later))
        streams = [sequence for sequence in mine if self._is_stream(sequence)]
        others = [s for s in mine if s not in streams and s not in in_background]
        # The first token of a stream is waited for; whole answers have no such deadline.
        seen = by_account([sequence for sequence in others if sequence.params.stream])
        unseen = by_account([sequence for sequence in others if not sequence.params.stream])
        if due := self._due(streams, seen):
            streams, seen, unseen = [s for s in streams if s.params.stream], due, []
        drafted = self._put_streams(streams, self._context.max_outputs - len(running))
        if not others:
            return StepContents(len(streams), drafted)
        self._read_prompts(streams, seen, unseen)
        prompts = [sequence for sequence in (*seen, *unseen) if sequence.step.scheduled]
        if self._solo and not self._prompts.is_solo:
            self._prompts.fill_beside(prompts, sum(len(sequence.tokens) for sequence in running))
        prefill = self._batch.size - len(streams) - drafted
        cells = sum(cells_before(s.step.scheduled, s.cache.cached) for s in prompts)
        return StepContents(len(streams), drafted, prefill, cells)

    @staticmethod
    def _is_stream(sequence: Sequence) -> bool:
        cache = sequence.cache
        return bool(sequence.generated) and cache.pending <= SHORT_RUN and not cache.next_media

    def _due(self, streams: list[Sequence], seen: list[Sequence]) -> list[Sequence]:
        """Return the prompts of streams that a short step can finish; it reads no others.

        So their first tokens wait neither for whole answers nor for long prompts. Every other step
        includes these.
        """
        due: list[Sequence] = []
        left = self._prefill_time(streams, self._seconds(streams), []).seconds if seen else 0.0
        for sequence in seen:
            left -= self._costs.seconds_alone(sequence.cache.pending, sequence.cache.cached)
            if left < 0:
                break
            due.append(sequence)
        self._was_short = bool(due) and not self._was_short
        return due if self._was_short else []

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
        if not streams and not self._has_streams_later:
            return ALONE
        return BESIDE_STREAMS if self._expects_streams else BESIDE_UNSEEN

    def _prefill_time(
        self, streams: list[Sequence], seconds: float, prompts: list[Sequence]
    ) -> PrefillTime:
        """Return the time for ``prompts`` beside ``streams`` in a step of so many seconds."""
        depth = max((sequence.cache.cached for sequence in prompts), default=0)
        # Other users may ask at any moment, and would wait for the end of a longer step.
        is_shared = self._is_shared
        return self._costs.prefill_time(len(streams), seconds, depth, may_be_longer=not is_shared)

    def _read_prompts(
        self, streams: list[Sequence], seen: list[Sequence], unseen: list[Sequence]
    ) -> None:
        """Put parts of the prompts beside ``streams`` into the batch."""
        allowed = self._prefill_time(streams, self._seconds(streams), [*seen, *unseen])
        kept = 1 - 1 / UNSEEN_PART if unseen else 1.0
        used = self._prompts.read(
            seen, allowed._replace(seconds=kept * allowed.seconds), OLDEST_PART
        )
        left = allowed.seconds - used
        if self._expects_streams:
            left = min(left, self._prefill_time(streams, EXPECTING_STREAMS, unseen).seconds)
        least = LEAST_CHUNK // UNSEEN_PART if used else LEAST_CHUNK
        self._prompts.read(unseen, allowed._replace(seconds=left), OLDEST_UNSEEN_PART, least)

    def forget_companion(self) -> None:
        """Free the cells of filler tokens after the batch."""
        self._prompts.forget_companion()

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
            self._prompts.put(sequence, count)
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
        price = SOLO_PRICE if self._prompts.is_solo else self._costs.price(len(streams))
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
            if self._solo and self._prompts.is_solo:
                worth, price = self._solo.worth, self._solo.price
            self._drafter.is_solo = self._prompts.is_solo
            self._drafter.draft(limited, count, worth, price)
            spare -= sum(len(one.sequence.step.drafts) for one in requests)
        return spare

    def _can_use_drafter(self, sequence: Sequence) -> bool:
        """True if the drafter may draft for a sequence."""
        if self._drafter is None or sequence.step.drafts:
            return False
        return self._drafter.reads_images or not sequence.params.media
