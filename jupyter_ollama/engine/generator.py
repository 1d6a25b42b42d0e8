"""Continuous batching: many sequences, one context, one batch after the other.

Each step decodes the newest token of every running sequence, and what is likely to follow it,
together with a chunk of the prompts that are still being read, then samples. What becomes of the
tokens is the business of the output thread, which works while the next step computes.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .choice import Choice, Fail
from .drafter import Drafter
from .filling import Filling
from .image_prefill import decode_image
from .llama_context import GIVEN_UP, Batch, LlamaContext
from .llama_model import LlamaModel
from .output import Told
from .pace import Pace
from .preemption import Preemption
from .prefix_cache import PrefixCache
from .sequence import Sequence

log = logging.getLogger(__name__)

Deliver = Callable[[Told], None]
"""Takes what a step gave."""

LONGEST_UNTRIMMED = 8
"""Steps with prompts in them, in a row, until idle sequences have to leave all the same."""

PREEMPTIBLE = 0.5
"""The part of a step after which finishing it takes less time than was spent on it."""

LONGEST_TRIM = 0.02
"""Seconds of copying idle sequences after which the next step comes first."""


class Generator:
    """The batch loop. ``step`` is to be called as long as ``busy``."""

    def __init__(
        self,
        model: LlamaModel,
        context: LlamaContext,
        deliver: Deliver,
        fail: Fail,
        *,
        parallel: int,
        idle_tokens: int,
        stored_bytes: int,
        drafter: Drafter | None = None,
        preemption: Preemption | None = None,
    ) -> None:
        """Run ``parallel`` sequences at once; see PrefixCache for the two after it.

        Where there is ``preemption``, steps are given up for first tokens if that pays.
        """
        self.model = model
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._watched: list[Sequence] = []
        self._parallel = parallel
        self._cache_sizes = (idle_tokens, stored_bytes)
        self._drafter = drafter
        # What a recurrent model has read cannot be taken out of its state.
        self._preemption = None if context.is_recurrent else preemption
        self._has_given_up = False
        self._deliver = deliver
        self._fail = fail
        self._threads = ThreadPoolExecutor(thread_name_prefix="sample")
        self._choice = Choice(model, self._threads, fail)
        self._trim_in = 0
        self._pace = Pace(_warm_up(context, model.filler_token))
        self._use(context)

    def _use(self, context: LlamaContext) -> None:
        idle_tokens, stored_bytes = self._cache_sizes
        self.context = context
        if self._preemption:
            self._preemption.attach(context)
        self._batch = Batch(context.batch)
        self._cache = PrefixCache(context, idle_tokens=idle_tokens, stored_bytes=stored_bytes)
        self._filling = Filling(context, self._batch, self._cache, self._pace, self._drafter)

    def replace_context(self, make: Callable[[], LlamaContext]) -> None:
        """Go on with another context; what runs is read again. ``make`` may raise."""
        context = make()
        for sequence in reversed(self.running):
            self._put_back(sequence)
        self.context.close()
        self._use(context)

    @property
    def busy(self) -> bool:
        """True while there is a sequence to work on."""
        return bool(self.running or self.waiting)

    @property
    def tokens_in_cells(self) -> int:
        """Tokens that the KV cache holds now."""
        return self._cache.tokens_in_cells()

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        self.waiting.append(sequence)
        if sequence.progress:
            self._watched.append(sequence)

    def cancel(self, request: int) -> bool:
        """Forget a request wherever it is; return whether there is anything to tell of it.

        That is what was read and generated for it.
        """
        left = [s for s in (*self.running, *self.waiting) if s.request == request and not s.over]
        begun = [(s, -1, "cancel") for s in left if s.started and not s.score]
        if begun:
            self._deliver(begun)
        for sequence in left:
            sequence.over = True
        self.waiting = deque(s for s in self.waiting if s.request != request)
        self._retire()
        return bool(begun)

    def step(self) -> None:
        """Admit, decode one batch, sample."""
        self._retire()
        self._admit()
        if self._watched:
            self._tell_progress()
        if not self._read_image():
            return
        self._batch.clear()
        self._make_room()
        streams, drafted = self._filling.fill(self.running)
        if not self._batch.size:
            return
        prefill = self._batch.size - streams - drafted
        start = time.perf_counter()
        code = self._decode(self._pace.expected(streams, prefill))
        if code == GIVEN_UP:
            return
        if code == 1:
            self._make_cells()
            return
        if code != 0:
            self._give_up(code)
            return
        for sequence in self.running:
            sequence.cached += sequence.scheduled
        ready = [sequence for sequence in self.running if sequence.row >= 0]
        if ready:
            self._deliver(self._choice.advance(ready, self.context, self._batch.outputs))
        self._pace.record(time.perf_counter() - start, streams, drafted, prefill)
        self._trim(reading=prefill > 0)

    def _decode(self, expected: float) -> int:
        """Decode the batch, which should take so many seconds, and return how that ended.

        What whole answers get is given up for the first token of a stream, which can start at once
        then; but not twice before they get something.
        """
        unseen = any(s.scheduled and not s.stream for s in self.running)
        if not self._preemption or not unseen or len(self.running) == self._parallel:
            return self.context.decode(self._batch)
        with self._preemption.step(0.0 if self._has_given_up else PREEMPTIBLE * expected):
            code = self.context.decode(self._batch)
        self._has_given_up = code == GIVEN_UP
        if self._has_given_up:
            for sequence in self.running:
                if sequence.scheduled:
                    self.context.cut(sequence.slot, sequence.position(sequence.cached))
        return code

    def _trim(self, *, reading: bool) -> None:
        """Let idle sequences leave if there are too many beside those that run.

        Copying them may take longer than a step, so that first tokens do not wait for it; where
        prompts are read in every step, after a while each step makes room for what it leaves.
        """
        if not self._trim_in:
            return
        if reading and self._trim_in > 1:
            self._trim_in -= 1
            return
        end = time.perf_counter() + LONGEST_TRIM
        while self._cache.trim(len(self.running), copy=True):
            if time.perf_counter() > end:
                self._trim_in = 1
                return
        self._trim_in = 1 if reading else 0

    def rest(self) -> bool:
        """Do what nobody waits for, to be called while not ``busy``; False if all is done."""
        return self._cache.store()

    def _retire(self) -> None:
        for sequence in [s for s in self.running if s.over]:
            self._release(sequence, keep=True)

    def _release(self, sequence: Sequence, *, keep: bool) -> None:
        self.running.remove(sequence)
        self._cache.release(sequence, keep=keep)
        if self._drafter:
            self._drafter.forget(sequence)

    def _put_back(self, sequence: Sequence) -> None:
        self._release(sequence, keep=False)
        self.waiting.appendleft(sequence)

    def _admit(self) -> None:
        """Start waiting sequences, first come first served, while slots and KV cells last."""
        if not self.waiting:
            return
        room = self.context.cells - sum(len(s.tokens) + 1 - s.reused for s in self.running)
        while self.waiting and len(self.running) < self._parallel:
            sequence = self.waiting[0]
            if self.running and len(sequence.tokens) + 1 > room:
                break
            if not self._cache.admit(sequence):
                break
            self.waiting.popleft()
            sequence.started = sequence.started or time.perf_counter_ns()
            self.running.append(sequence)
            self._trim_in = self._trim_in or LONGEST_UNTRIMMED
            room -= len(sequence.tokens) + 1 - sequence.reused
        while self._cache.trim(len(self.running), copy=False):
            pass

    def _tell_progress(self) -> None:
        """Tell how much is read of the prompts that somebody watches."""
        self._watched = [s for s in self._watched if not s.generated and not s.over]
        for sequence in self._watched:
            if sequence.progress and sequence.started:
                sequence.progress.tell(sequence.cached, len(sequence.prompt))

    def _read_image(self) -> bool:
        """Decode the next part of an image that is due; False if that did not work.

        Images are embeddings, which llama.cpp takes in batches of their own.
        """
        for sequence in self.running:
            if self._cache.follow(sequence):
                continue
            span = sequence.next_media
            if span is None or span.start > sequence.cached:
                continue
            start = time.perf_counter()
            count, code = decode_image(self.context, sequence, span, self._batch.capacity)
            if code == 1:
                self._make_cells()
            elif code != 0:
                self._give_up(code)
            else:
                sequence.cached += count
                self._pace.record(time.perf_counter() - start, 0, 0, count)
            return code == 0
        return True

    def _make_room(self) -> None:
        """Shift or end the sequences that fill their context, before they need another cell."""
        ended = []
        for sequence in self.running:
            if not sequence.generated or len(sequence.tokens) <= sequence.num_ctx:
                continue
            if sequence.shift and self.context.can_shift and not sequence.media:
                self._shift(sequence)
            else:
                ended.append((sequence, -1, "length"))
                sequence.over = True
        if ended:
            self._deliver(ended)
            self._retire()

    def _shift(self, sequence: Sequence) -> None:
        """Let a sequence lose the older half of what follows its first ``num_keep`` tokens."""
        keep = max(0, min(sequence.num_keep, sequence.cached - 2))
        discard = max(1, (sequence.cached - keep) // 2)
        if self._cache.unshare(sequence, keep):
            self.context.shift(sequence.slot, keep, discard, sequence.cached)
            sequence.discard(keep, discard)
        else:
            sequence.discard(keep, discard)
            self.context.cut(sequence.slot, keep)
            sequence.cached = keep

    def _make_cells(self) -> None:
        """No cell is left: drop what is idle, else put the youngest sequence back.

        It reads its tokens again later.
        """
        for sequence in self.running:
            sequence.drafts = []
        if self._cache.evict():
            return
        victim = self.running[-1]
        if len(self.running) == 1:
            self._fail(victim, 500, "the KV cache is too small for this request")
            victim.over = True
            self._retire()
            return
        log.info("KV cache full: a sequence of %d tokens is put back", len(victim.tokens))
        self._put_back(victim)

    def _give_up(self, code: int) -> None:
        for sequence in list(self.running):
            self._fail(sequence, 500, f"llama.cpp could not decode the batch (code {code})")
            sequence.over = True
            sequence.exact = 0
        self._retire()


def _warm_up(context: LlamaContext, token: int) -> float:
    """Decode a few tokens so that weights are paged in, and return seconds a prompt token."""
    count = min(32, context.batch)
    batch = Batch(count)
    batch.add([token] * count, 0, 0, outputs="last")
    seconds = 1e-3
    for _ in range(2):
        start = time.perf_counter()
        context.decode(batch)
        context.logits(count - 1)
        seconds = (time.perf_counter() - start) / count
        context.forget(0)
    return seconds
