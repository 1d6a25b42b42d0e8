"""Continuous batching: many sequences, one context, one batch after the other.

Each step decodes the newest token of every running sequence together with a chunk of the prompts
that are still being read, then samples. What becomes of the tokens is the business of the output
thread, which works while the next step computes.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .llama_context import Batch, LlamaContext
from .llama_model import LlamaModel
from .pace import Pace
from .sequence import Sequence

log = logging.getLogger(__name__)

Deliver = Callable[[list[tuple[Sequence, int, str]]], None]
"""Takes what a step gave: (sequence, token or -1, reason it ends or "")."""

Fail = Callable[[Sequence, int, str], None]
"""Takes a sequence that cannot go on, an HTTP status and a text."""


class Generator:
    """The batch loop. ``step`` is to be called as long as ``busy``."""

    def __init__(
        self,
        model: LlamaModel,
        context: LlamaContext,
        deliver: Deliver,
        fail: Fail,
    ) -> None:
        self.model = model
        self.context = context
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._slots = list(range(context.max_sequences - 1, -1, -1))
        self._batch = Batch(context.batch)
        self._deliver = deliver
        self._fail = fail
        self._samplers = ThreadPoolExecutor(thread_name_prefix="sample")
        self._pace = Pace(self._warm_up())

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

    def cancel(self, request: int) -> None:
        """Forget a request wherever it is."""
        for sequence in self.running:
            if sequence.request == request:
                sequence.over = True
        self.waiting = deque(s for s in self.waiting if s.request != request)
        self._retire()

    def step(self) -> None:
        """Admit, decode one batch, sample."""
        self._retire()
        self._admit()
        streams = self._fill()
        if not self._batch.size:
            return
        start = time.perf_counter()
        code = self.context.decode(self._batch)
        if code == 1:
            self._preempt()
            return
        if code != 0:
            self._give_up(code)
            return
        for sequence in self.running:
            sequence.cached += sequence.scheduled
        ready = [sequence for sequence in self.running if sequence.row >= 0]
        tokens = self._sample(ready)
        self._pace.record(time.perf_counter() - start, streams, self._batch.size - streams)
        self._deliver([self._advance(s, token) for s, token in zip(ready, tokens, strict=True)])

    def _retire(self) -> None:
        for sequence in [s for s in self.running if s.over]:
            self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.context.forget(sequence.slot)
        self._slots.append(sequence.slot)
        self.running.remove(sequence)
        sequence.slot, sequence.cached = -1, 0

    def _admit(self) -> None:
        """Start waiting sequences, first come first served, while slots and KV cells last."""
        room = self.context.cells - sum(len(s.tokens) + 1 for s in self.running)
        while self.waiting and self._slots:
            sequence = self.waiting[0]
            if self.running and len(sequence.tokens) + 1 > room:
                return
            room -= len(sequence.tokens) + 1
            self.waiting.popleft()
            sequence.slot = self._slots.pop()
            sequence.started = sequence.started or time.perf_counter_ns()
            self.running.append(sequence)

    def _fill(self) -> int:
        """Put the next tokens of every running sequence into the batch; return its streams."""
        self._batch.clear()
        self._make_room()
        streams = [s for s in self.running if s.pending == 1]
        prefills = [s for s in self.running if s.pending > 1]
        for sequence in streams:
            self._put(sequence, 1)
        chunk = min(self._pace.chunk(len(streams)), self._batch.room)
        for sequence in prefills:
            taken = min(chunk, sequence.pending)
            self._put(sequence, taken)
            chunk -= taken
        return len(streams)

    def _put(self, sequence: Sequence, count: int) -> None:
        sequence.scheduled, sequence.row = count, -1
        if not count:
            return
        tokens = sequence.tokens[sequence.cached : sequence.cached + count]
        if count == sequence.pending:
            sequence.row = self._batch.add(tokens, sequence.cached, sequence.slot, outputs="last")
        else:
            self._batch.add(tokens, sequence.cached, sequence.slot, outputs="none")

    def _make_room(self) -> None:
        """Shift or end the sequences that fill their context, before they need another cell."""
        ended = []
        for sequence in self.running:
            if sequence.pending > 1 or len(sequence.tokens) <= sequence.num_ctx:
                continue
            if sequence.shift and self.context.can_shift:
                keep = min(sequence.num_keep, sequence.cached - 2)
                discard = max(1, (sequence.cached - keep) // 2)
                self.context.shift(sequence.slot, keep, discard, sequence.cached)
                sequence.discard(keep, discard)
            else:
                ended.append((sequence, -1, "length"))
                sequence.over = True
        if ended:
            self._deliver(ended)
            self._retire()

    def _preempt(self) -> None:
        """No cell is left: put the youngest sequence back; it reads its tokens again later."""
        victim = self.running[-1]
        if len(self.running) == 1:
            self._fail(victim, 500, "the KV cache is too small for this request")
            victim.over = True
            self._retire()
            return
        log.info("KV cache full: a sequence of %d tokens is put back", len(victim.tokens))
        self._release(victim)
        self.waiting.appendleft(victim)

    def _give_up(self, code: int) -> None:
        for sequence in list(self.running):
            self._fail(sequence, 500, f"llama.cpp could not decode the batch (code {code})")
            sequence.over = True
        self._retire()

    def _sample(self, sequences: list[Sequence]) -> list[int]:
        def sample(sequence: Sequence) -> int:
            return sequence.sampler.sample(self.context, sequence.row)

        if not sequences:
            return []
        # The first read of a row makes llama.cpp wait for the device and order its outputs; after
        # that rows can be read by many threads.
        self.context.logits(sequences[0].row)
        chains = sum(not s.sampler.is_greedy for s in sequences)
        if chains > 1:
            return list(self._samplers.map(sample, sequences))
        return [sample(sequence) for sequence in sequences]

    def _advance(self, sequence: Sequence, token: int) -> tuple[Sequence, int, str]:
        """Book a sampled token and tell whether it is the last."""
        sequence.append(token)
        if self.model.is_end(token):
            reason = "stop"
        elif sequence.generated >= sequence.num_predict:
            reason = "length"
        else:
            return sequence, token, ""
        sequence.over = True
        return sequence, token, reason
