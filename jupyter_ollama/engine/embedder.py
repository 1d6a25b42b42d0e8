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
"""Tokens of a packed batch, single longer texts apart. Attention is computed over the whole batch,
so a larger one costs more than it saves on a CPU."""


class EmbedJob:
    """A request on its way: the texts that are left and the rows that are done."""

    def __init__(self, command: Embed) -> None:
        self.command = command
        self.rows: list[NDArray[np.float32]] = []
        self.tokens = 0
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
        code = self._context.decode(self._batch) if owners else 0
        if code:
            for job in dict.fromkeys(owners):
                self._fail(job, 500, f"llama.cpp could not decode the batch (code {code})")
        else:
            for sequence, job in enumerate(owners):
                job.rows.append(self._vector(sequence, normalize=job.command.normalize))
        self._context.forget(-1)
        self._finish()

    def _fill(self) -> list[EmbedJob]:
        """Pack texts, first come first served; return the job of each sequence in the batch."""
        self._batch.clear()
        owners: list[EmbedJob] = []
        for job in list(self._jobs):
            try:
                while (tokens := job.peek(self._prompter, self._longest)) is not None:
                    room = min(PACK_TOKENS - self._batch.size, self._batch.room)
                    fits = not owners or len(tokens) <= room
                    if not fits or len(owners) == self._context.max_sequences:
                        return owners
                    self._batch.add(tokens, 0, len(owners), outputs="all")
                    owners.append(job)
                    job.take()
            except OllamaError as error:
                self._fail(job, error.status, error.message)
        return owners

    def _fail(self, job: EmbedJob, status: int, message: str) -> None:
        self.cancel(job.command.request)
        self._output.event(Failed(job.command.request, status, message))

    def _vector(self, sequence: int, *, normalize: bool) -> NDArray[np.float32]:
        vector = self._context.sequence_embedding(sequence).copy()
        if normalize:
            vector /= max(float(np.linalg.norm(vector)), 1e-12)
        return vector

    def _finish(self) -> None:
        while self._jobs and len(self._jobs[0].rows) == len(self._jobs[0].command.texts):
            job = self._jobs.popleft()
            rows = np.stack(job.rows)
            event = Embedded(job.command.request, rows.shape[0], rows.shape[1], job.tokens)
            self._output.event(event, rows.tobytes())
