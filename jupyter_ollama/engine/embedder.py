"""Embeddings: texts of many requests packed into each batch, pooled by the model."""

from __future__ import annotations

from collections import deque

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
        self._rows: NDArray[np.float32] | None = None
        self._count = 0
        self._texts = iter(command.texts)
        self._next: list[int] | None = None

    def peek(self, prompter: Prompter, longest: int) -> list[int] | None:
        """Return the tokens of the next text, None behind the last. Raises OllamaError."""
        if self._next is None:
            text = next(self._texts, None)
            if text is not None:
                num_ctx = min(self.command.num_ctx, longest)
                truncate = self.command.truncate
                self._next = prompter.text_tokens(text, num_ctx, truncate=truncate)
        return self._next

    def take(self) -> None:
        """Pass on to the text after the one that was looked at."""
        self.tokens += len(self._next or ())
        self._next = None

    def put(self, vector: NDArray[np.float32]) -> None:
        """Copy the vector of the next text in line, in the order in which they were taken."""
        if self._rows is None:
            self._rows = np.empty((len(self.command.texts), vector.size), np.float32)
        self._rows[self._count] = vector
        self._count += 1

    def result(self) -> NDArray[np.float32] | None:
        """Return the embeddings (texts, n_embd_out) once all are there, normalised if wanted."""
        if self._rows is None or self._count < len(self._rows):
            return None
        if self.command.normalize:
            norms = np.linalg.norm(self._rows, axis=1, keepdims=True)
            self._rows /= np.maximum(norms, 1e-12)
        return self._rows


class Embedder:
    """Packs texts and reads their vectors. ``step`` is to be called as long as ``busy``."""

    def __init__(
        self, prompter: Prompter, context: LlamaContext, longest: int, output: Output
    ) -> None:
        """``longest`` is the longest text in tokens that the context can embed."""
        self._prompter = prompter
        self._context = context
        self._longest = longest
        self._batch = Batch(context.batch)
        self._jobs: deque[EmbedJob] = deque()
        self._output = output

    @property
    def busy(self) -> bool:
        """True while there is a text to embed."""
        return bool(self._jobs)

    def add(self, job: EmbedJob) -> None:
        """Queue a request."""
        self._jobs.append(job)

    def cancel(self, request: int) -> None:
        """Forget a request."""
        self._jobs = deque(job for job in self._jobs if job.command.request != request)

    def step(self) -> None:
        """Embed one batch of texts."""
        owners = self._fill()
        jobs = dict.fromkeys(owners)
        code = self._context.decode(self._batch) if owners else 0
        if code:
            for job in jobs:
                self._fail(job, 500, f"llama.cpp could not decode the batch (code {code})")
        else:
            for sequence, job in enumerate(owners):
                job.put(self._context.sequence_embedding(sequence))
            for job in jobs:
                self._finish(job)
        self._context.forget(-1)

    def _fill(self) -> list[EmbedJob]:
        """Pack texts, one of each request in turn; return the request of each in the batch.

        So no request waits for all the texts of another. One whose next text does not fit is the
        first of the next batch; one with no more texts is queued no longer.
        """
        self._batch.clear()
        owners: list[EmbedJob] = []
        passed: deque[EmbedJob] = deque()
        while self._jobs and len(owners) < self._context.max_sequences:
            job = self._jobs.popleft()
            tokens = self._peek(job)
            if tokens is None:
                continue
            if owners and len(tokens) > min(PACK_TOKENS - self._batch.size, self._batch.room):
                passed.append(job)
                continue
            self._batch.add(tokens, 0, len(owners), outputs="all")
            owners.append(job)
            job.take()
            self._jobs.append(job)
        self._jobs.extendleft(reversed(passed))
        return owners

    def _peek(self, job: EmbedJob) -> list[int] | None:
        """Return the tokens of a request's next text, None if there is none or it cannot be had."""
        try:
            return job.peek(self._prompter, self._longest)
        except OllamaError as error:
            self._fail(job, error.status, error.message)
            return None

    def _finish(self, job: EmbedJob) -> None:
        """Send the embeddings of a request if they are complete."""
        rows = job.result()
        if rows is not None:
            event = Embedded(job.command.request, rows.shape[0], rows.shape[1], job.tokens)
            self._output.event(event, rows.tobytes())

    def _fail(self, job: EmbedJob, status: int, message: str) -> None:
        self.cancel(job.command.request)
        self._output.event(Failed(job.command.request, status, message))
