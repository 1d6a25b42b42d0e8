"""Embeddings: texts of many requests packed into each batch, pooled by the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from ..errors import OllamaError
from .llama_context import Batch, LlamaContext
from .output import Output
from .prompting import Prompter
from .protocol import Embed, Embedded, Failed

PACK_TOKENS = 256
"""Tokens of a packed batch, single longer texts apart. More gain nothing on a CPU, from 500 on they
cost: attention looks at the mask of every pair. Fewer tokens waste time between the layers."""


class EmbedJob:
    """A request on its way: the next text to embed, and the rows that are done."""

    def __init__(self, command: Embed) -> None:
        self.command = command
        self.tokens = 0
        self.ended = False
        self._rows: NDArray[np.float32] | None = None
        self._missing = len(command.texts)
        self._taken = 0
        self._next: list[int] | None = None

    def peek(self, prompter: Prompter, longest: int) -> list[int] | None:
        """Return the tokens of the next text, None behind the last. Raises OllamaError.

        Those of a document are behind those of the query.
        """
        command = self.command
        if self._next is None and self._taken < len(command.texts):
            num_ctx = min(command.num_ctx, longest)
            text = command.texts[self._taken]
            self._next = prompter.pooled_tokens(
                command.query, text, num_ctx, truncate=command.truncate
            )
        return self._next

    def take(self) -> int:
        """Pass on to the text after the one that was looked at, and return the place of that."""
        self.tokens += len(self._next or ())
        self._next = None
        self._taken += 1
        return self._taken - 1

    def put(self, place: int, vector: NDArray[np.float32]) -> None:
        """Copy the vector of the text at a place."""
        if self._rows is None:
            self._rows = np.empty((len(self.command.texts), vector.size), np.float32)
        self._rows[place] = vector
        self._missing -= 1

    def result(self) -> NDArray[np.float32] | None:
        """Return the embeddings (texts, n_embd_out) once all are there, normalised if wanted."""
        if self._rows is None or self._missing:
            return None
        if self.command.normalize:
            norms = np.linalg.norm(self._rows, axis=1, keepdims=True)
            self._rows /= np.maximum(norms, 1e-12)
        return self._rows


class Lane:
    """A context, and the batch that it runs. ``texts`` has the request and place of each text."""

    def __init__(self, context: LlamaContext) -> None:
        self.context = context
        self.batch = Batch(context.batch)
        self.texts: list[tuple[EmbedJob, int]] = []

    def clear(self) -> None:
        """Make the batch empty."""
        self.batch.clear()
        self.texts = []

    def fits(self, tokens: list[int]) -> bool:
        """Tell whether a text may join the batch; one that is longer than a pack goes alone."""
        pack = PACK_TOKENS - self.batch.size if self.texts else self.batch.room
        return len(tokens) <= min(pack, self.batch.room)

    def add(self, tokens: list[int], job: EmbedJob) -> None:
        """Put the text that ``job`` is at into the batch."""
        self.batch.add(tokens, 0, len(self.texts), outputs="all")
        self.texts.append((job, job.take()))

    def run(self, threads: int) -> int:
        """Run the batch on so many threads and return llama_decode's code."""
        llama.llama_set_n_threads(self.context.pointer, threads, threads)
        code = self.context.decode(self.batch)
        self.context.forget(-1)
        return code


class Embedder:
    """Packs texts and reads their vectors. ``step`` is to be called as long as ``busy``."""

    def __init__(
        self,
        prompter: Prompter,
        context: LlamaContext,
        longest: int,
        output: Output,
        beside: Sequence[LlamaContext] = (),
    ) -> None:
        """``longest`` is the longest text in tokens that the context can embed.

        Contexts ``beside`` it, for PACK_TOKENS tokens, share its threads while there is much to do:
        two batches on a core each are faster than one on both, which wait for each other between
        the layers.
        """
        self._prompter = prompter
        self._longest = longest
        self._output = output
        self._jobs: deque[EmbedJob] = deque()
        self._threads: int = llama.llama_n_threads_batch(context.pointer)
        self._idle = [Lane(one) for one in (context, *beside)]
        self._share = max(1, self._threads // len(self._idle))
        self._running: dict[Future[int], Lane] = {}
        self._pool = ThreadPoolExecutor(len(self._idle), thread_name_prefix="embed")

    @property
    def busy(self) -> bool:
        """True while there is a text to embed."""
        return bool(self._jobs or self._running)

    def add(self, job: EmbedJob) -> None:
        """Queue a request."""
        self._jobs.append(job)

    def cancel(self, request: int) -> None:
        """Forget a request."""
        under_way = (job for lane in self._running.values() for job, _ in lane.texts)
        for job in (*self._jobs, *under_way):
            job.ended = job.ended or job.command.request == request
        self._jobs = deque(job for job in self._jobs if not job.ended)

    def step(self) -> None:
        """Embed a batch of texts; those of other contexts may still run when this returns."""
        filled = [lane for lane in self._idle if self._fill(lane)]
        if self._running or (len(filled) > 1 and filled[-1].batch.size > PACK_TOKENS // 2):
            for lane in filled:
                self._idle.remove(lane)
                self._running[self._pool.submit(lane.run, self._share)] = lane
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                lane = self._running.pop(future)
                self._deliver(lane, future.result())
                self._idle.append(lane)
        else:
            for lane in filled:
                self._deliver(lane, lane.run(self._threads))

    def _fill(self, lane: Lane) -> bool:
        """Pack texts, one of each request in turn; return False if there is none.

        So no request waits for all the texts of another. One whose next text does not fit is the
        first of the next batch; one with no more texts is queued no longer.
        """
        lane.clear()
        passed: deque[EmbedJob] = deque()
        while self._jobs and len(lane.texts) < lane.context.max_sequences:
            job = self._jobs.popleft()
            tokens = self._peek(job)
            if tokens is None:
                continue
            if not lane.fits(tokens):
                passed.append(job)
                continue
            lane.add(tokens, job)
            self._jobs.append(job)
        self._jobs.extendleft(reversed(passed))
        return bool(lane.texts)

    def _deliver(self, lane: Lane, code: int) -> None:
        """Give each request its vectors, and send those that are complete."""
        for sequence, (job, place) in enumerate(lane.texts):
            if code and not job.ended:
                self._fail(job, 500, f"llama.cpp could not decode the batch (code {code})")
            elif not code:
                job.put(place, lane.context.sequence_embedding(sequence))
        for job in dict.fromkeys(job for job, _ in lane.texts):
            self._finish(job)

    def _peek(self, job: EmbedJob) -> list[int] | None:
        """Return the tokens of a request's next text, None if there is none or it cannot be had."""
        try:
            return job.peek(self._prompter, self._longest)
        except OllamaError as error:
            self._fail(job, error.status, error.message)
            return None

    def _finish(self, job: EmbedJob) -> None:
        """Send the embeddings of a request if they are complete and still wanted."""
        rows = None if job.ended else job.result()
        if rows is not None:
            event = Embedded(job.command.request, rows.shape[0], rows.shape[1], job.tokens)
            self._output.event(event, rows.tobytes())

    def _fail(self, job: EmbedJob, status: int, message: str) -> None:
        job.ended = True
        self.cancel(job.command.request)
        self._output.event(Failed(job.command.request, status, message))
