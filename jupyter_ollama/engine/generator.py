"""Continuous batching: many sequences, one context, one batch after the other.

The unit of scheduling is a step, not a request (Orca, Yu et al. 2022). Each step decodes the newest
token of every running sequence and its drafts, together with a chunk of the prompts that are still
being read, then samples. The output thread turns the tokens into text while the next step computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence as Many
from concurrent.futures import ThreadPoolExecutor

from .background_prefill import LONGEST_GAP, BackgroundPrefill, slice_seconds
from .batch import Batch
from .batch_builder import BatchBuilder
from .drafter import Drafter
from .llama_context import INTERRUPTED, LlamaContext
from .llama_model import LlamaModel, LoadError
from .preemption import PREEMPTIBLE, Preemption
from .prefix_cache import PrefixCache
from .prefix_files import PrefixFiles
from .prompt_reader import SoloMode
from .prompting import MediaSpan
from .pulse import Expect
from .reading_order import NEVER
from .run_queue import RunQueue
from .sequence import FinishReason, Sequence, StepOutput
from .step_costs import StepContents, StepCosts, solo_costs, token_seconds
from .token_selection import Fail, TokenSelector
from .turns import Turns

Deliver = Callable[[Many[StepOutput]], None]
"""Takes the results of a step."""


class Generator:
    """The batch loop. Call ``step`` as long as it is ``busy``."""

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
        is_repeatable: bool = False,
        expect: Expect = lambda seconds, tokens: False,
        prefix_files: Callable[[LlamaContext], PrefixFiles | None] = lambda context: None,
        background: BackgroundPrefill | None = None,
    ) -> None:
        """Run ``parallel`` sequences at once; see PrefixCache for the two parameters after it.

        With ``preemption``, steps are interrupted for the first tokens of streams if that pays.
        With ``is_repeatable``, for a model on the CPU, consecutive requests get the same answers in
        any order. ``expect`` takes the expected seconds of the next step, and its tokens.
        ``prefix_files`` returns the files of system prompts for a context. With ``background``, on
        a CPU, long prompts beside streams are read there.
        """
        self._prefix_files = prefix_files
        self._expect = expect
        self.model = model
        self._watched: list[Sequence] = []
        self._cache_sizes = (idle_tokens, stored_bytes)
        self._drafter = drafter
        # Tokens cannot be removed from the state of a recurrent model.
        self._preemption = None if context.is_recurrent else preemption
        self._was_interrupted = False
        self._turns = Turns()
        # A recurrent state cannot be copied in parts.
        self._background = None if context.is_recurrent else background
        self._deliver = deliver
        self._fail = fail
        self._threads = ThreadPoolExecutor(thread_name_prefix="sample")
        self.selector = TokenSelector(model, self._threads, fail, drafter)
        attention = context.attention if is_repeatable else None
        self._costs = StepCosts(token_seconds(context, model.filler_token), attention)
        self._solo = self._solo_mode(context, model) if is_repeatable else None
        self._prepare(context)
        self._queue = RunQueue(parallel, context, self._cache, drafter)
        self.running = self._queue.running
        """The sequences that have a slot."""

    def _prepare(self, context: LlamaContext) -> None:
        idle_tokens, stored_bytes = self._cache_sizes
        self.context = context
        if self._preemption:
            self._preemption.attach(context)
        self._batch = Batch(context.batch)
        self._cache = PrefixCache(
            context,
            idle_tokens=idle_tokens,
            stored_bytes=stored_bytes,
            is_repeatable=self._solo is not None,
            by_tile=self._solo is not None and self._solo.by_tile,
            filled_from=self._solo.filled_from if self._solo else NEVER,
            files=self._prefix_files(context),
        )
        self._builder = BatchBuilder(
            context, self._batch, self._cache, self._costs, self._drafter, self._solo
        )
        if self._background:
            self._background.attach(context, self._cache, self._costs)

    def _solo_mode(self, context: LlamaContext, model: LlamaModel) -> SoloMode:
        filler = model.filler_token
        costs = solo_costs(context, filler) if self._drafter else (0.0, 1.0)
        return SoloMode(filler, model.mixes_tokens, context.filled_from, *costs)

    def replace_context(
        self,
        make: Callable[[], LlamaContext],
        restore: Callable[[], LlamaContext] | None = None,
    ) -> None:
        """Continue with another context, in which all is decoded again. ``make`` may raise.

        With ``restore`` the former context is freed first. It makes one like the former if ``make``
        raises. Raises RuntimeError if neither can be made.
        """
        context = None if restore else make()
        for sequence in reversed(self.running):
            self._queue.put_back(sequence)
        self.context.close()
        try:
            context = context or make()
        except LoadError:
            if restore:
                self._restore(restore)
            raise
        self._use(context)

    def _restore(self, make: Callable[[], LlamaContext]) -> None:
        try:
            self._use(make())
        except LoadError as error:
            # It ends the runner; the next request loads the model anew.
            raise RuntimeError(f"the former context cannot be made again: {error}") from error

    def _use(self, context: LlamaContext) -> None:
        self._prepare(context)
        self._queue.use(context, self._cache)

    @property
    def waiting(self) -> Many[Sequence]:
        """The sequences that wait for a slot or for KV cells."""
        return self._queue.waiting

    @property
    def busy(self) -> bool:
        """True while there is a sequence to work on."""
        return bool(self.running or self.waiting)

    @property
    def has_slot(self) -> bool:
        """True if another sequence could start at once."""
        return not self._queue.is_full

    @property
    def can_start_stream(self) -> bool:
        """True if a stream waits that the next step starts."""
        return self.has_slot and any(sequence.params.stream for sequence in self.waiting)

    @property
    def tokens_in_cells(self) -> int:
        """Tokens that the KV cache holds now."""
        return self._cache.tokens_in_cells()

    @property
    def stored_bytes(self) -> int:
        """Host memory of copies of finished sequences."""
        return self._cache.stored_bytes

    @property
    def seconds_beside(self) -> float:
        """How long a step of other work may last, so that a first token waits no longer for it."""
        return self._builder.seconds_beside

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        self._queue.waiting.append(sequence)
        if sequence.progress:
            self._watched.append(sequence)

    def cancel(self, request: int) -> bool:
        """Drop a request; return whether its costs were delivered: it had begun."""
        cancelled = self._queue.find(request)
        begun = [
            StepOutput(sequence, None, FinishReason.CANCEL)
            for sequence in cancelled
            if sequence.started and not sequence.score
        ]
        if begun:
            self._deliver(begun)
        for sequence in cancelled:
            sequence.over = True
            if self._background:
                self._background.leave(sequence)
        self._queue.withdraw(request)
        self._queue.retire()
        return bool(begun)

    def step(self) -> None:
        """Admit, decode one batch, sample; then go on with a prompt in the background."""
        self._batch.clear()
        start = time.perf_counter()
        self._step()
        if self._background:
            seconds = slice_seconds(time.perf_counter() - start)
            self._background.run(seconds if self._batch.size else LONGEST_GAP)

    def _step(self) -> None:
        self._queue.retire()
        self._queue.admit()
        if self._watched:
            self._report_progress()
        adapters = self._next_adapters()
        is_changed = self.context.apply(adapters)
        if not self._read_image(adapters):
            return
        if ended := self._queue.end_full_contexts():
            self._deliver(ended)
            self._queue.retire()
        contents = self._builder.fill(self.running, adapters, self._read_in_background())
        if not self._batch.size:
            self._turns.end()
            return
        start = time.perf_counter()
        expected = self._costs.expected(contents)
        is_first = self._expect(expected, self._batch.size)
        code = self._decode(expected)
        self._builder.forget_companion()
        if code == INTERRUPTED:
            return
        if code == 1:
            self._free_cells()
            return
        if code != 0:
            self._fail_all(code)
            return
        for sequence in self.running:
            sequence.cache.cached += sequence.step.scheduled
        ready = [sequence for sequence in self.running if sequence.step.row >= 0]
        if ready:
            self._deliver(self.selector.advance(ready, self.context, self._batch.outputs))
        if not is_first and not is_changed:
            self._costs.record(time.perf_counter() - start, contents)
        self._queue.trim(reading=contents.prefill > 0)

    def _read_in_background(self) -> list[Sequence]:
        """Return the sequences that are read in the background."""
        if not self._background:
            return []
        is_due = self._builder.needs_short_steps(self.running)
        return self._background.choose(self.running, is_due=is_due)

    def _next_adapters(self) -> int:
        """Return the set of adapters whose sequences the next step computes.

        After a step that was interrupted for a stream it is the set of that stream.
        """
        if self._was_interrupted:
            new = (s for s in self.running if s.params.stream and not s.generated)
            if stream := next(new, None):
                self._turns.give(stream.params.adapters)
        return self._turns.next((s.params.adapters, s.params.account) for s in self.running)

    def _decode(self, expected: float) -> int:
        """Decode the batch, which should take ``expected`` seconds, and return llama_decode's code.

        A step that works on whole answers is interrupted for the first token of a stream that can
        start at once, one that reads a part of a prompt if that stream is of another account; but
        not twice in a row.
        """
        scheduled = [s for s in self.running if s.step.scheduled]
        has_unseen = any(not s.params.stream for s in scheduled)
        has_part = any(s.step.row < 0 for s in scheduled)
        if not self._preemption or not (has_unseen or has_part) or not self.has_slot:
            return self.context.decode(self._batch)
        but_by = [] if has_unseen else [s.params.account for s in scheduled]
        seconds = 0.0 if self._was_interrupted else PREEMPTIBLE * expected
        with self._preemption.step(seconds, but_by):
            code = self.context.decode(self._batch)
        self._was_interrupted = code == INTERRUPTED
        if self._was_interrupted:
            for sequence in self.running:
                if sequence.step.scheduled:
                    cache = sequence.cache
                    self.context.cut(cache.slot, cache.position(cache.cached))
        return code

    def leave(self, adapters: int) -> None:
        """Stop applying a set of adapters, which no sequence uses, and forget its prefixes."""
        self.context.leave(adapters)
        self._cache.drop(adapters)

    def rest(self) -> bool:
        """Do deferred work, to be called while not ``busy``; False if all is done."""
        return self._cache.store()

    def free(self) -> None:
        """Free what the next long prompt makes again, to be called after a long pause."""
        if self._background:
            self._background.close()

    def _report_progress(self) -> None:
        """Report how much of the watched prompts is read."""
        self._watched = [s for s in self._watched if not s.generated and not s.over]
        for sequence in self._watched:
            if sequence.progress and sequence.started:
                background = self._background
                read = background.tokens_read(sequence) if background else sequence.cache.cached
                sequence.progress.report(read, len(sequence.prompt))

    def _read_image(self, adapters: int) -> bool:
        """Decode the next part of an image of such a sequence that is due; False if that failed.

        Images are embeddings, which llama.cpp takes in batches of their own.
        """
        for sequence in self.running:
            cache = sequence.cache
            if sequence.params.adapters != adapters or self._cache.follow(cache):
                continue
            span = cache.next_media
            if span is None or span.start > cache.cached:
                continue
            if not self._cache.is_in_order(cache):
                self._cache.mix(one.cache for one in self.running)
            most = StepContents.of_prompt(self._batch.capacity, cache.cached)
            self._expect(self._costs.expected(most), most.size)
            start = time.perf_counter()
            count, code = self._decode_image(sequence, span)
            if code == 1:
                self._free_cells()
            elif code != 0:
                self._fail_all(code)
            else:
                part = StepContents.of_prompt(count, cache.cached)
                cache.cached += count
                self._costs.record(time.perf_counter() - start, part)
            return code == 0
        return True

    def _decode_image(self, sequence: Sequence, span: MediaSpan) -> tuple[int, int]:
        """Decode the next tokens of an image, at most a batch of them where it may be split.

        Returns the number of tokens and llama_decode's code.
        """
        start, media = span
        cache = sequence.cache
        done = cache.cached - start
        most = media.n_tokens if media.non_causal else done + self._batch.capacity
        end = min(most, media.n_tokens)
        positions = media.positions(cache.position(start))[:, done:end]
        code = self.context.decode_embeddings(
            media.embeddings[done:end], positions, cache.slot, causal=not media.non_causal
        )
        return end - done, code

    def _free_cells(self) -> None:
        stuck = self._queue.free_cells()
        if stuck:
            self._fail(stuck, 500, "the KV cache is too small for this request")
            stuck.over = True
            self._queue.retire()

    def _fail_all(self, code: int) -> None:
        for sequence in list(self.running):
            self._fail(sequence, 500, f"llama.cpp could not decode the batch (code {code})")
            sequence.over = True
            sequence.cache.exact = 0
        self._queue.retire()
