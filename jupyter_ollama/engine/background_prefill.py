"""Reads long prompts beside streams: in a context of its own, between the steps of the batch loop.

A part of a prompt in the batch of a step delays the next tokens of streams, so it has to be small;
and small parts of long prompts take long on a CPU, where llama.cpp computes attention row by row
for batches of fewer than 64 tokens. Here a part has some hundred tokens. It pauses after an
operation of llama.cpp for the next step of the streams. The keys and values are copied into the
cells of the batch loop when the prompt is read, or when it makes way: with them there the steps of
streams take longer, since llama.cpp computes attention to all cells and then masks the cells of
other sequences.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from collections.abc import Sequence as Many

from .adapters import NO_ADAPTERS
from .batch_builder import OLDEST_PART, UNSEEN_PART, by_account
from .llama_context import LlamaContext
from .llama_model import LoadError
from .prefill_context import PrefillContext
from .prefix_cache import PrefixCache
from .pulse import Expect
from .reading_order import TILE
from .saved_state import PART
from .sequence import Sequence
from .step_costs import StepCosts

log = logging.getLogger(__name__)

WORTH_SECONDS, WORTH_TOKENS = 0.5, 2 * TILE
"""The time and the length above which a prompt is read in the background. A short question would
wait there for the end of a part of another prompt."""

LONGEST_PART = 3.0
"""Seconds of a part, unless it is a single tile: long prompts of other users wait for its end."""

LONG_OPERATION = 0.06
"""Seconds of one operation above which parts become shorter, since streams wait for its end."""

SHARE = 4.0
"""The time of prompts as a multiple of the time of streams, where that leaves these enough."""

LONGEST_GAP = 0.17
"""Seconds from one step of streams to the next, if their steps are short."""

SHORTEST_SLICE = 0.02
"""Seconds for which prompts are read at once; shorter ones are spent on changes of the thread."""

COPIED_TOKENS = 8 * PART
"""Tokens that are copied between two steps, which takes some 20 ms."""

CELLS = 2048
"""The context has a multiple of this number of cells."""


def slice_seconds(step_seconds: float) -> float:
    """Return how long prompts are read after a step of streams that took so many seconds."""
    left = max(LONGEST_GAP - step_seconds, step_seconds / 2)
    return max(min(SHARE * step_seconds, left), SHORTEST_SLICE)


class BackgroundPrefill:
    """Chooses the prompts to read in the background, and reads one of them at a time."""

    def __init__(
        self,
        make_context: Callable[[int], LlamaContext],
        free_context: Callable[[LlamaContext], None],
        is_wanted: Callable[[], bool],
        expect: Expect,
    ) -> None:
        """``make_context`` returns a context of so many cells and two sequences.

        It may raise LoadError. ``is_wanted`` returns True if the batch loop has other work, which
        ends a slice. ``expect`` takes the expected seconds of a step, and its tokens.
        """
        self._make_context = make_context
        self._free_context = free_context
        self._is_wanted = is_wanted
        self._expect = expect
        self._side: PrefillContext | None = None
        self._sequence: Sequence | None = None
        self._order = -1
        self._most = TILE
        self._is_short_of_memory = False
        self._begun: set[Sequence] = set()
        self._refused: set[Sequence] = set()
        self._parts = 0

    def attach(self, cells: LlamaContext, cache: PrefixCache, costs: StepCosts) -> None:
        """Read for the sequences of another context of the batch loop."""
        self.close()
        self._cells, self._cache, self._costs = cells, cache, costs

    def close(self) -> None:
        """Free the context; the next prompt makes another one."""
        if self._side:
            self._side.close()
            self._free_context(self._side.context)
        self._side = self._sequence = None
        self._is_short_of_memory = False

    def choose(self, running: Collection[Sequence], *, is_due: bool) -> list[Sequence]:
        """Return the sequences that steps leave to the background; read the next part of one.

        ``is_due`` is True if steps have to be short for the sake of streams.
        """
        self._begun.intersection_update(running)
        self._refused.intersection_update(running)
        self._finish_part()
        chosen = [s for s in running if is_due and self._suits(s)]
        if not self._is_reading:
            following = self._next(chosen) if chosen else None
            if self._must_copy(following):
                self._copy(COPIED_TOKENS)
            elif following:
                self._begin(following)
            chosen = [s for s in chosen if self._suits(s)]
        is_held = self._is_reading or self._has_uncopied
        if is_held and self._sequence and self._sequence not in chosen:
            chosen.append(self._sequence)
        return chosen

    def tokens_read(self, sequence: Sequence) -> int:
        """Return the tokens of a sequence that were read, here or in the cells."""
        is_here = sequence is self._sequence and sequence.cache.order == self._order
        length = self._side.length if self._side and is_here else 0
        return max(length, sequence.cache.cached)

    def leave(self, sequence: Sequence) -> None:
        """Copy the first tokens that were read of a sequence that is about to leave the cells.

        So a client that sends a long prompt again does not start anew.
        """
        self._finish_part()
        if self._side and sequence is self._sequence:
            self._side.give_up()
            self._copy(COPIED_TOKENS)

    @property
    def _is_reading(self) -> bool:
        return self._side is not None and self._side.part is not None

    def _suits(self, sequence: Sequence) -> bool:
        params, cache = sequence.params, sequence.cache
        if params.adapters != NO_ADAPTERS or params.media or cache.leader:
            return False
        if sequence in self._refused or self._is_short_of_memory:
            return False
        if sequence.generated and cache.pending <= TILE:
            return False
        if sequence in self._begun:
            return cache.pending > 1
        seconds = self._costs.seconds(cache.pending, cache.cached, is_tiled=False)
        return cache.pending > WORTH_TOKENS and seconds > WORTH_SECONDS

    @property
    def _has_uncopied(self) -> bool:
        """True if tokens were read that are not in the cells yet."""
        side, sequence = self._side, self._sequence
        return bool(side and sequence and side.length > sequence.cache.cached)

    @property
    def _is_complete(self) -> bool:
        """True if only the last token of the prompt is left, which a step reads."""
        side, sequence = self._side, self._sequence
        return bool(side and sequence and side.length >= len(sequence.tokens) - 1)

    def _must_copy(self, following: Sequence | None) -> bool:
        """Return whether tokens have to be copied before the next part, of a sequence, is read."""
        side, sequence = self._side, self._sequence
        if side is None or sequence is None or not self._has_uncopied:
            return False
        cache = sequence.cache
        others_wait = any(cache.cached < end <= side.length for end in cache.followed_until)
        return others_wait or following is not sequence or self._is_complete

    def _finish_part(self) -> None:
        """Take over the part that was read, or give it up if its sequence has left the cells."""
        side, sequence = self._side, self._sequence
        if side is None or sequence is None:
            return
        if sequence.cache.slot < 0 or sequence.cache.order != self._order:
            self._forget(side)
        elif side.is_read:
            self._take_over(side, sequence)

    def _forget(self, side: PrefillContext) -> None:
        side.forget()
        self._sequence = None

    def _refuse(self, side: PrefillContext, sequence: Sequence) -> None:
        """Leave the rest of a prompt to the steps."""
        self._refused.add(sequence)
        self._forget(side)

    def _take_over(self, side: PrefillContext, sequence: Sequence) -> None:
        part = side.take_over()
        if part is None:
            log.warning("llama.cpp could not read a part of a prompt in the background")
            # `choose` copies its earlier parts before the steps read the rest.
            self._refused.add(sequence)
            return
        self._costs.record(side.seconds, part)
        if side.longest_operation > LONG_OPERATION:
            self._most = max(self._most // 2, TILE)
        elif side.longest_operation < LONG_OPERATION / 3:
            self._most = min(self._most * 2, side.capacity)

    def _copy(self, count: int) -> None:
        """Copy up to so many of the tokens that were read into the cells."""
        side, sequence = self._side, self._sequence
        assert side is not None
        assert sequence is not None
        cache = sequence.cache
        cache.alone = min(cache.alone, cache.cached)
        # It may have forked these tokens meanwhile, from a sequence with the same prefix.
        end = min(side.length, cache.cached + count)
        while cache.cached < end:
            spare = self._cache.make_spare()
            cache.cached = side.copy_to(self._cells, cache.slot, spare, cache.cached, end)
            if cache.cached < end and not self._cache.evict():
                self._refuse(side, sequence)
                return
        if self._is_complete and not self._has_uncopied:
            self._forget(side)

    def _next(self, prompts: Many[Sequence]) -> Sequence:
        """Return the prompt to read: in most turns, of the account with the fewest tokens left.

        One of OLDEST_PART parts is of the prompt that was admitted first, and one of UNSEEN_PART of
        a whole answer, as in steps.
        """
        seen = [s for s in prompts if s.params.stream]
        unseen = [s for s in prompts if not s.params.stream]
        is_turn_of_unseen = self._parts % UNSEEN_PART == UNSEEN_PART - 1
        group = unseen if unseen and (is_turn_of_unseen or not seen) else seen
        if self._parts % OLDEST_PART == 0:
            return min(group, key=lambda one: one.started)
        return by_account(group, lambda one: len(one.tokens) - self.tokens_read(one))[0]

    def _begin(self, sequence: Sequence) -> None:
        """Begin to read the next part of a sequence.

        Its cells are copied first, if need be over several steps.
        """
        side, cache = self._side_for(sequence), sequence.cache
        if side is None:
            return
        if self._sequence is not sequence or self._order != cache.order:
            self._forget(side)
            self._sequence, self._order = sequence, cache.order
        self._begun.add(sequence)
        end = min(cache.cached, side.length + COPIED_TOKENS)
        if not side.copy_from(self._cells, cache.slot, self._cache.make_spare(), end):
            self._refuse(side, sequence)
        elif side.length >= cache.cached:
            side.begin(sequence.tokens[side.length : self._end_of_part(sequence, side)])
            self._parts += 1

    def _end_of_part(self, sequence: Sequence, side: PrefillContext) -> int:
        # Others wait for the tokens that they share with it. The step that reads the last token
        # samples from its logits.
        shared = [end for end in sequence.cache.followed_until if end > side.length]
        tiles = self._costs.tokens(LONGEST_PART, side.length) // TILE
        most = min(self._most, max(tiles, 1) * TILE)
        return min(side.length + most, len(sequence.tokens) - 1, *shared)

    def _side_for(self, sequence: Sequence) -> PrefillContext | None:
        """Return a context that holds a sequence; None without memory for it."""
        needed = -(-len(sequence.tokens) // CELLS) * CELLS
        if self._side and self._side.context.cells >= needed:
            return self._side
        self.close()
        try:
            context = self._make_context(needed)
        except LoadError as error:
            log.info("Long prompts are read in the steps of streams: %s", error)
            self._is_short_of_memory = True
            return None
        self._side = PrefillContext(context, self._is_wanted)
        self._most = self._side.capacity
        return self._side

    def run(self, seconds: float) -> None:
        """Read for so many seconds, or until the part is complete or other work arrives."""
        side = self._side
        if side and side.part and not side.is_read:
            expected = self._costs.expected(side.part)
            self._expect(max(seconds, expected), side.part.size)
            side.run(seconds)
