"""The sequences of the batch loop: those that wait, those that run, and the KV cells they use."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque

from .drafter import Drafter
from .llama_context import LlamaContext
from .prefix_cache import PrefixCache
from .sequence import FinishReason, Sequence, StepOutput

log = logging.getLogger(__name__)

MAX_UNTRIMMED_STEPS = 8
"""Consecutive steps with prompt tokens after which idle sequences are evicted nevertheless."""

TRIM_SECONDS = 0.02
"""Seconds of copying idle sequences after which the next step runs first."""

RESERVED_SHARE = 4
"""One of so many cells is reserved for other accounts where an account has running sequences."""


class RunQueue:
    """Admits sequences while slots and KV cells last, and releases both."""

    def __init__(
        self, parallel: int, context: LlamaContext, cache: PrefixCache, drafter: Drafter | None
    ) -> None:
        """Run up to ``parallel`` sequences at once."""
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._parallel = parallel
        self._context = context
        self._cache = cache
        self._drafter = drafter
        self._trim_in = 0

    def use(self, context: LlamaContext, cache: PrefixCache) -> None:
        """Continue with another context, in which nothing runs yet."""
        self._context, self._cache = context, cache

    @property
    def is_full(self) -> bool:
        """True if no further sequence can start."""
        return len(self.running) == self._parallel

    def find(self, request: int) -> list[Sequence]:
        """Return the sequences of a request that have not ended."""
        sequences = (*self.running, *self.waiting)
        return [s for s in sequences if s.params.request == request and not s.over]

    def admit(self) -> None:
        """Start waiting sequences while slots and KV cells last.

        The account with the fewest tokens in the cells is first; each account leaves a share of
        the cells to others. Sequences whose system prompt is being read from the disk wait.
        """
        if not self.waiting:
            return
        cells = self._context.cells
        free = cells - sum(len(s.tokens) + 1 - s.cache.reused for s in self.running)
        while self.waiting and len(self.running) < self._parallel:
            held: Counter[int] = Counter()
            for one in self.running:
                held[one.params.account] += len(one.tokens)
            sequence = self._next(held)
            if sequence is None:
                break
            account = sequence.params.account
            reserved = cells // RESERVED_SHARE if held[account] else 0
            if self.running and len(sequence.tokens) + 1 > free - reserved * bool(account):
                break
            if not self._cache.admit(sequence.cache):
                break
            self.waiting.remove(sequence)
            sequence.started = sequence.started or time.perf_counter_ns()
            self.running.append(sequence)
            self._trim_in = self._trim_in or MAX_UNTRIMMED_STEPS
            free -= len(sequence.tokens) + 1 - sequence.cache.reused
        if not self.running:
            self._cache.wait_for_disk()
        while self._cache.trim(len(self.running), copy=False):
            pass

    def _next(self, held: Counter[int]) -> Sequence | None:
        """Return the sequence to start next by the tokens ``held`` by each account, if one can."""
        first = min(self.waiting, key=lambda one: held[one.params.account])
        if not self._cache.is_loading(first.cache):
            return first
        able = [one for one in self.waiting if not self._cache.is_loading(one.cache)]
        return min(able, key=lambda one: held[one.params.account], default=None)

    def withdraw(self, request: int) -> None:
        """Remove a request from those that wait."""
        self.waiting = deque(s for s in self.waiting if s.params.request != request)

    def retire(self) -> None:
        """Release the sequences that are over; their tokens stay in the prefix cache."""
        for sequence in [s for s in self.running if s.over]:
            self._release(sequence, keep=True)

    def put_back(self, sequence: Sequence) -> None:
        """Return a running sequence to the head of the queue; its tokens are decoded again."""
        self._release(sequence, keep=False)
        self.waiting.appendleft(sequence)

    def _release(self, sequence: Sequence, *, keep: bool) -> None:
        self.running.remove(sequence)
        self._cache.release(sequence.cache, keep=keep)
        if self._drafter:
            self._drafter.forget(sequence)

    def trim(self, *, reading: bool) -> None:
        """Evict idle sequences if there are too many beside those that run.

        Copying them may take longer than a step, so the first tokens of new streams come first. If
        prompts are read in every step, each step after a few trims what the next one adds.
        """
        if not self._trim_in:
            return
        if reading and self._trim_in > 1:
            self._trim_in -= 1
            return
        end = time.perf_counter() + TRIM_SECONDS
        while self._cache.trim(len(self.running), copy=True):
            if time.perf_counter() > end:
                self._trim_in = 1
                return
        self._trim_in = 1 if reading else 0

    def end_full_contexts(self) -> list[StepOutput]:
        """Shift or end the sequences that fill their context, before they need another cell."""
        ended = []
        for sequence in self.running:
            params = sequence.params
            if not sequence.generated or len(sequence.tokens) <= params.num_ctx:
                continue
            if params.shift and self._context.can_shift and not params.media:
                self._shift(sequence)
            else:
                ended.append(StepOutput(sequence, None, FinishReason.LENGTH))
                sequence.over = True
        return ended

    def _shift(self, sequence: Sequence) -> None:
        """Drop the older half of the tokens after the first ``num_keep`` (context shift)."""
        cache = sequence.cache
        keep = max(0, min(sequence.params.num_keep, cache.cached - 2))
        discard = max(1, (cache.cached - keep) // 2)
        if self._cache.unshare(cache, keep):
            self._context.shift(cache.slot, keep, discard, cache.cached)
            sequence.discard(keep, discard)
        else:
            sequence.discard(keep, discard)
            self._context.cut(cache.slot, keep)
            cache.cached = keep

    def free_cells(self) -> Sequence | None:
        """Evict an idle sequence, or put the youngest running one back, where no cell is free.

        Returns the only running sequence where neither is possible.
        """
        for sequence in self.running:
            sequence.step.drafts = []
        if self._cache.evict():
            return None
        victim = self.running[-1]
        if len(self.running) == 1:
            return victim
        log.info("KV cache full: a sequence of %d tokens is put back", len(victim.tokens))
        self.put_back(victim)
        return None
