"""Puts parts of prompts into a batch."""

from __future__ import annotations

from typing import NamedTuple

from .batch import Batch
from .llama_context import LlamaContext
from .prefix_cache import PrefixCache
from .reading_order import missing, next_count
from .sequence import Sequence
from .step_costs import LEAST_CHUNK, PrefillTime, StepCosts, cells_before

DEEP = 512
"""Tokens before a part of a prompt from which a tile may be faster than rows."""

CELLS_FOR_OTHERS = 256
"""Cells that fillers leave free for idle prefixes, besides the cells of running sequences."""


class SoloMode(NamedTuple):
    """How a sequence that runs alone is computed: in batches that depend on it alone.

    ``companion`` is a filler token that completes parts of prompts, in a sequence of its own. With
    ``by_tile`` a prompt is read by single tiles; behind ``filled_from`` tokens its remainder is
    completed to one (see ``reading_order``). ``worth`` and ``price`` replace the measured ones for
    its drafter, see DraftCosts.
    """

    companion: int
    by_tile: bool
    filled_from: int
    worth: float
    price: float


class PromptReader:
    """Puts parts of prompts, and filler tokens, into the batch of a context."""

    def __init__(
        self,
        context: LlamaContext,
        batch: Batch,
        cache: PrefixCache,
        costs: StepCosts,
        solo: SoloMode | None = None,
    ) -> None:
        """Without ``solo`` a sequence that runs alone is computed like any other."""
        self._context = context
        self._batch = batch
        self._cache = cache
        self._costs = costs
        self._solo = solo
        self._companion_id = -1
        self.is_solo = False
        """Whether only one sequence runs, so that its batches must not depend on others."""

    def read(
        self,
        sequences: list[Sequence],
        allowed: PrefillTime,
        oldest_part: int,
        least: int = LEAST_CHUNK,
    ) -> float:
        """Put tokens of prompts into the batch that take the allowed time; return the seconds.

        The prompts are read in their order, ``least`` tokens of them in any case. One of
        ``oldest_part`` seconds and tokens is reserved for the prompt that was admitted first.
        """
        oldest = min(sequences, key=lambda one: one.started, default=None)
        reserved, reserved_least = 0.0, 0
        if oldest and oldest.params.account != sequences[0].params.account:
            reserved, reserved_least = allowed.seconds / oldest_part, -(-least // oldest_part)
        left, least = allowed.seconds - reserved, least - reserved_least
        for sequence in sequences:
            if sequence is oldest:
                left, least = left + reserved, max(least, 0) + reserved_least
                reserved = 0.0
            if self._cache.follow(sequence.cache):
                continue
            depth = sequence.cache.cached
            most = max(self._costs.tokens(left, depth, is_tiled=allowed.is_tiled), least)
            most = min(most, self._batch.remaining)
            if most <= 0:
                continue
            if self._solo and self.is_solo:
                most = next_count(
                    depth,
                    len(sequence.tokens),
                    most,
                    by_tile=self._solo.by_tile,
                    filled_from=self._solo.filled_from,
                )
                most = min(most, self._batch.remaining)
            taken = min(most, self._until_image(sequence), self._until_meeting(sequence))
            if taken:
                self.put(sequence, taken)
                left -= self._costs.seconds(taken, depth, is_tiled=allowed.is_tiled)
                least -= taken
                if self._solo and self.is_solo:
                    if not sequence.cache.readings[-1].is_short:
                        filled_from = self._solo.filled_from
                        needed = missing(self._batch.size, depth, filled_from=filled_from)
                        self._add_fillers(needed, len(sequence.tokens))
                    break
        return allowed.seconds - reserved - left

    def put(self, sequence: Sequence, count: int) -> None:
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

    def fill_beside(self, prompts: list[Sequence], used: int) -> None:
        """Complete a batch with parts of ``prompts`` to a tile if that makes it faster.

        All running sequences have ``used`` tokens.
        """
        deep = [s for s in prompts if s.cache.cached >= DEEP]
        cells = sum(cells_before(s.step.scheduled, s.cache.cached) for s in deep)
        self._add_fillers(self._costs.fillers(self._batch.size, cells), used + CELLS_FOR_OTHERS)

    def forget_companion(self) -> None:
        """Free the cells of filler tokens after the batch."""
        if self._companion_id >= 0:
            self._context.forget(self._companion_id)
            self._companion_id = -1

    def _add_fillers(self, needed: int, used: int) -> None:
        """Add filler tokens, so that the kernels for many tokens compute the whole batch.

        There are ``used`` cells, or less.
        """
        spare = self._cache.spare_id
        count = min(needed, self._batch.remaining, self._context.cells - used)
        if self._solo is None or count <= 0 or spare < 0 or self._context.is_recurrent:
            return
        self._batch.add([self._solo.companion] * count, 0, spare, outputs="none")
        self._companion_id = spare

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
