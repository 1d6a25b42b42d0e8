"""Embeddings: texts of many requests packed into each batch, pooled by the model.

Where the last token of a text is pooled, a long text is decoded in parts, and other texts share the
batch. Encoders see a text in one graph, since they attend in both directions.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import llama_cpp.llama_cpp as llama

from ..errors import OllamaError
from .adapters import NO_ADAPTERS
from .embed_job import EmbedJob
from .embed_lane import PACK_TOKENS, Lane, SplitText
from .events import Embedded, Failed
from .preemption import PREEMPTIBLE, Preemption
from .pulse import Expect
from .reading_order import TILE
from .step_costs import ALONE, LEAST_CHUNK, StepContents, StepCosts
from .turns import Turns

if TYPE_CHECKING:
    from .llama_context import LlamaContext
    from .llama_model import LlamaModel
    from .output import Output

FIRST_TOKEN = 0.02
"""Assumed seconds of a token before a batch was measured."""

INTERRUPTIONS = 2
"""How often a batch is interrupted, each time by another account: one that sends both texts and
streams would else have the streams of others wait for batches that may not be interrupted."""


class Embedder:
    """Packs texts and reads their vectors. Call ``step`` as long as ``busy``."""

    def __init__(
        self,
        model: LlamaModel,
        context: LlamaContext,
        longest: int,
        output: Output,
        beside: Sequence[LlamaContext] = (),
        *,
        splits: bool = False,
        seconds: Callable[[], float] = lambda: ALONE,
        expect: Expect = lambda seconds, tokens: False,
        preemption: Preemption | None = None,
        can_start: Callable[[], bool] = lambda: False,
    ) -> None:
        """``longest`` is the longest text in tokens.

        With ``splits`` long texts are decoded in parts: then a step takes about ``seconds``.
        Contexts ``beside`` it, for PACK_TOKENS tokens, share its threads while many texts wait: two
        batches on a core each are faster than one on both, which wait for each other between the
        layers. ``expect`` is called with the expected duration of each step and its tokens.
        With ``preemption``, a step is interrupted for the first token of a stream if
        ``can_start`` says that one would start at once.
        """
        self._model = model
        self._splits = splits
        self.longest = self._longest_in(context, longest)
        self._output = output
        self._seconds = seconds
        self._expect = expect
        # Tokens cannot be removed from the state of a recurrent model.
        self._preemption = preemption if splits and not context.is_recurrent else None
        self._can_start = can_start
        if self._preemption:
            self._preemption.attach(context)
        self._jobs: deque[EmbedJob] = deque()
        self._turns = Turns()
        self._threads: int = llama.llama_n_threads_batch(context.pointer)
        lanes = [Lane(context, splits=splits), *(Lane(one) for one in beside)]
        self._lanes = lanes
        self._idle = [*lanes]
        self._share = max(1, self._threads // len(lanes))
        self._running: dict[Future[int], Lane] = {}
        self._pool = ThreadPoolExecutor(len(lanes), thread_name_prefix="embed")
        attention = context.attention if self._preemption else None
        self._costs = StepCosts(self._warm_up(lanes[0]) if splits else FIRST_TOKEN, attention)

    def _warm_up(self, lane: Lane) -> float:
        """Decode a tile of tokens; return the seconds of each."""
        count = min(TILE, lane.batch.capacity)
        lane.clear(count)
        lane.batch.add([self._model.filler_token] * count, 0, 0, outputs="all")
        start = time.perf_counter()
        lane.run(self._threads)
        return (time.perf_counter() - start) / count

    @property
    def busy(self) -> bool:
        """True while there is a text to embed."""
        kept = any(lane.split or lane.is_interrupted for lane in self._lanes)
        return bool(self._jobs or self._running or kept)

    def _longest_in(self, context: LlamaContext, longest: int) -> int:
        """Return the longest text that a context made for ``longest`` tokens can embed."""
        return longest if self._splits else min(longest, context.batch)

    def replace_context(self, make: Callable[[], LlamaContext], longest: int) -> None:
        """Continue with a context for texts of ``longest`` tokens. ``make`` may raise.

        Batches that run are completed before; requests keep their vectors and their turns.
        """
        self.settle()
        context = make()
        for lane in self._lanes:
            if lane.is_interrupted:
                self._deliver(lane, lane.run(self._threads))
        if self._preemption:
            self._preemption.attach(context)
        self._lanes[0].replace(context)
        self.longest = self._longest_in(context, longest)

    def add(self, job: EmbedJob) -> None:
        """Queue a request."""
        self._jobs.append(job)

    def cancel(self, request: int) -> None:
        """Drop a request."""
        for job in (*self._jobs, *(job for lane in self._lanes for job in lane.jobs)):
            job.ended = job.ended or job.command.request == request
        self._jobs = deque(job for job in self._jobs if not job.ended)

    def step(self) -> None:
        """Embed a batch of texts; batches of other contexts may still run when this returns."""
        filled = [lane for lane in self._idle if self._fill(lane)]
        count = sum(lane.batch.size for lane in filled)
        cells = sum(lane.cells for lane in filled)
        contents = StepContents(prefill=count, cells=cells)
        expected = self._costs.expected(contents)
        is_first = self._expect(expected, count)
        start = time.perf_counter()
        if self._running or (len(filled) > 1 and filled[-1].batch.size > PACK_TOKENS // 2):
            for lane in filled:
                self._idle.remove(lane)
                self._running[self._pool.submit(lane.run, self._share)] = lane
            self._wait_for(FIRST_COMPLETED)
        else:
            for lane in filled:
                self._deliver(lane, self._run(lane, PREEMPTIBLE * expected))
                if lane.is_interrupted:
                    return
        if count and not is_first:
            self._costs.record(time.perf_counter() - start, contents)

    def _run(self, lane: Lane, seconds: float) -> int:
        """Run a batch, which may be interrupted during its first ``seconds``."""
        preemption, earlier = self._preemption, lane.interrupted_by
        if not preemption or len(earlier) == INTERRUPTIONS or not self._can_start():
            return lane.run(self._threads)
        with preemption.step(seconds, earlier):
            code = lane.run(self._threads)
        if lane.is_interrupted:
            earlier.append(preemption.account)
        return code

    def _wait_for(self, which: str) -> None:
        """Wait for running batches, and deliver the completed ones."""
        for future in wait(self._running, return_when=which).done:
            lane = self._running.pop(future)
            self._deliver(lane, future.result())
            self._idle.append(lane)

    def _fill(self, lane: Lane) -> bool:
        """Pack texts, one of each request in turn; return False if there is none.

        So no request waits for all the texts of another. A request whose next text does not fit is
        the first of the next batch; where texts may be split, a part of the text fills this one.
        A batch that was interrupted stays as it is.
        """
        if lane.is_interrupted:
            return True
        lane.clear(self._budget(), self._turns.next(self._takers(lane)))
        passed: deque[EmbedJob] = deque()
        others: list[EmbedJob] = []
        while self._jobs and not lane.is_full:
            job = self._jobs.popleft()
            tokens = self._peek(job)
            if tokens is None:
                continue
            if job.command.adapters != lane.adapters:
                others.append(job)
                continue
            if not lane.fits(tokens):
                passed.append(job)
                continue
            lane.add(tokens, job)
            self._jobs.append(job)
        self._jobs.extendleft(reversed(passed))
        self._jobs.extendleft(reversed(others))
        if lane.splits:
            self._split(lane, passed)
        if not lane.batch.size:
            self._turns.end()  # its texts are all read, or longer than a part beside a split one
            if lane.split:
                lane.adapters = lane.split.adapters
                self._add_part(lane)
        return bool(lane.batch.size)

    def _takers(self, lane: Lane) -> Iterator[tuple[int, int]]:
        """Yield the adapters and the account of each request that a lane can work on."""
        for job in (*self._jobs, *([lane.split.job] if lane.split else [])):
            if not job.ended:
                yield job.command.adapters, job.command.account

    def settle(self) -> None:
        """Complete the batches that run in other threads."""
        self._wait_for(ALL_COMPLETED)

    def leave(self, adapters: int) -> None:
        """Stop applying a set of adapters, which no request uses."""
        self.settle()
        for lane in self._lanes:
            if lane.adapters == adapters:
                lane.adapters = NO_ADAPTERS
            lane.context.leave(adapters)

    def _budget(self) -> int:
        """Return the tokens of whole texts in the next step where texts may be split."""
        return max(self._costs.tokens(self._seconds()), LEAST_CHUNK)

    def _split(self, lane: Lane, passed: Sequence[EmbedJob]) -> None:
        """Add a part of a long text to a batch: of the current one, or of the first one queued."""
        if lane.split is None and passed:
            job = passed[0]
            tokens = self._peek(job)
            assert tokens
            lane.split = SplitText(job, job.take(), tokens)
            self._jobs.remove(job)
            self._jobs.append(job)
        self._add_part(lane)

    def _add_part(self, lane: Lane) -> None:
        """Add the tokens of a long text that fit into the next step beside whole texts.

        Other users may send a request at any moment: then a step is not prolonged for a tile.
        """
        split = lane.split
        if split is None or not lane.continues:
            return
        jobs = (*self._jobs, split.job)
        is_shared = any(job.command.account for job in jobs)
        allowed = self._costs.prefill_time(
            0, self._seconds(), split.done, may_be_longer=not is_shared
        )
        beside = lane.batch.size
        left = allowed.seconds - self._costs.seconds(beside)
        count = self._costs.tokens(left, split.done, is_tiled=allowed.is_tiled)
        rows = LEAST_CHUNK // 2 if beside else LEAST_CHUNK
        lane.add_part(max(count, TILE - beside if allowed.is_tiled else rows))

    def _deliver(self, lane: Lane, code: int) -> None:
        """Give each request its vectors, and send those that are complete."""
        if lane.is_interrupted:
            return
        jobs = lane.jobs
        if code:
            for job in jobs:
                if not job.ended:
                    self._fail(job, 500, f"llama.cpp could not decode the batch (code {code})")
        else:
            lane.deliver()
        if lane.split and (code or not lane.split.remaining):
            lane.end_split()
        for job in jobs:
            self._finish(job)

    def _peek(self, job: EmbedJob) -> list[int] | None:
        """Return the tokens of a request's next text, None after the last or after an error."""
        try:
            return job.peek(self._model, self.longest)
        except OllamaError as error:
            self._fail(job, error.status, error.message)
            return None

    def _finish(self, job: EmbedJob) -> None:
        """Send the embeddings of a request if they are complete and it was not cancelled."""
        rows = None if job.ended else job.result()
        if rows is not None:
            count, size = rows.shape
            request = job.command.request
            self._output.event(Embedded(request, count, size, job.tokens, rows.tobytes()))

    def _fail(self, job: EmbedJob, status: int, message: str) -> None:
        job.ended = True
        self.cancel(job.command.request)
        self._output.event(Failed(job.command.request, status, message))
