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
from .drafter import Drafter, Wish
from .image_prefill import decode_image
from .llama_context import Batch, LlamaContext
from .llama_model import LlamaModel
from .output import Told
from .pace import Pace
from .prefix_cache import PrefixCache
from .sequence import Sequence

log = logging.getLogger(__name__)

Deliver = Callable[[Told], None]
"""Takes what a step gave."""

LONGEST_UNTRIMMED = 8
"""Steps with prompts in them, in a row, until idle sequences have to leave all the same."""

SHORT_RUN = 32
"""Tokens without a choice (a constraint knows them) that are decoded like a single one."""


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
    ) -> None:
        """Run ``parallel`` sequences at once; see PrefixCache for the two after it."""
        self.model = model
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._watched: list[Sequence] = []
        self._parallel = parallel
        self._cache_sizes = (idle_tokens, stored_bytes)
        self._drafter = drafter
        self._deliver = deliver
        self._fail = fail
        self._threads = ThreadPoolExecutor(thread_name_prefix="sample")
        self._choice = Choice(model, self._threads, fail)
        self._trim_in = 0
        self._use(context)
        self._pace = Pace(self._warm_up())

    def _use(self, context: LlamaContext) -> None:
        idle_tokens, stored_bytes = self._cache_sizes
        self.context = context
        self._batch = Batch(context.batch)
        self._cache = PrefixCache(context, idle_tokens=idle_tokens, stored_bytes=stored_bytes)

    def replace_context(self, make: Callable[[], LlamaContext]) -> None:
        """Go on with another context; what runs is read again. ``make`` may raise."""
        context = make()
        for sequence in reversed(self.running):
            self._put_back(sequence)
        self.context.close()
        self._use(context)

    def _warm_up(self) -> float:
        """Decode a few tokens so that weights are paged in, and return seconds a prompt token."""
        count = min(32, self._batch.capacity)
        seconds = 1e-3
        for _ in range(2):
            self._batch.clear()
            self._batch.add([self.model.filler_token] * count, 0, 0, outputs="last")
            start = time.perf_counter()
            self.context.decode(self._batch)
            self.context.logits(count - 1)
            seconds = (time.perf_counter() - start) / count
            self.context.forget(0)
        return seconds

    @property
    def busy(self) -> bool:
        """True while there is a sequence to work on."""
        return bool(self.running or self.waiting)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        self.waiting.append(sequence)
        if sequence.progress:
            self._watched.append(sequence)

    def cancel(self, request: int) -> None:
        """Forget a request wherever it is."""
        for sequence in (*self.running, *self.waiting):
            if sequence.request == request:
                sequence.over = True
        self.waiting = deque(s for s in self.waiting if s.request != request)
        self._retire()

    def step(self) -> None:
        """Admit, decode one batch, sample."""
        self._retire()
        self._admit()
        if self._watched:
            self._tell_progress()
        if not self._read_image():
            return
        streams, drafted = self._fill()
        if not self._batch.size:
            return
        start = time.perf_counter()
        code = self.context.decode(self._batch)
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
        prefill = self._batch.size - streams - drafted
        self._pace.record(time.perf_counter() - start, streams, drafted, prefill)
        self._trim(reading=prefill > 0)

    def _trim(self, *, reading: bool) -> None:
        """Let an idle sequence leave if there are too many beside those that run.

        Copying it may take longer than a step, so that first tokens do not wait for it.
        """
        if not self._trim_in:
            return
        self._trim_in = self._trim_in - 1 if reading else 0
        if not self._trim_in and self._cache.trim(len(self.running), copy=True):
            self._trim_in = 1

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

    def _fill(self) -> tuple[int, int]:
        """Put the next tokens of every running sequence into the batch.

        Returns the number of streams (sequences that have begun to answer) and of their drafts.
        """
        self._batch.clear()
        self._make_room()
        streams = [
            s for s in self.running if s.generated and s.pending <= SHORT_RUN and not s.next_media
        ]
        others = [s for s in self.running if s not in streams]
        drafted = self._put_streams(streams)
        chunk = min(self._pace.chunk(len(streams)), self._batch.room)
        for sequence in others:
            sequence.scheduled, sequence.row = 0, -1
            if chunk <= 0 or self._cache.follow(sequence):
                continue
            taken = min(chunk, self._until_image(sequence), self._until_meeting(sequence))
            if taken:
                self._put(sequence, taken)
                chunk -= taken
        return len(streams), drafted

    def _put_streams(self, streams: list[Sequence]) -> int:
        drafted = 0
        plain = []
        spare = min(self._batch.room - len(streams), self.context.max_outputs - len(self.running))
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
        price = 1.0 if self.context.is_recurrent else self._pace.price(len(streams))
        wishes = []
        for sequence in streams:
            sequence.drafts = []
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
        if not self.context.is_recurrent:
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
