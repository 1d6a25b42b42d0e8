"""Embeddings: texts of many requests packed into each batch, pooled by the model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .llama_context import Batch, LlamaContext
from .output import Output
from .protocol import Embedded, Failed

PACK_TOKENS = 256
"""Tokens of a packed batch, single longer texts apart. Attention is computed over the whole batch,
so a larger one costs more than it saves (see benchmarks/)."""


@dataclass(slots=True, eq=False)
class EmbedJob:
    """The token lists of one request and the rows that are done (count x n_embd float32)."""

    request: int
    texts: list[list[int]]
    normalize: bool
    rows: list[NDArray[np.float32]] = field(default_factory=list)


class Embedder:
    """Packs texts and reads their vectors. ``step`` is to be called as long as ``busy``."""

    def __init__(self, context: LlamaContext, batch_size: int, output: Output) -> None:
        """``batch_size`` is the longest text in tokens that the context can take at once."""
        self._context = context
        self._batch = Batch(batch_size)
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
        self._jobs = deque(job for job in self._jobs if job.request != request)

    def step(self) -> None:
        """Embed one batch of texts."""
        owners = self._fill()
        code = self._context.decode(self._batch) if owners else 0
        for sequence, job in enumerate(owners):
            if code:
                self.cancel(job.request)
            else:
                job.rows.append(self._vector(sequence, job.normalize))
        self._context.forget(-1)
        for job in dict.fromkeys(owners):
            if code:
                message = f"llama.cpp could not decode the batch (code {code})"
                self._output.event(Failed(job.request, 500, message))
        self._finish()

    def _fill(self) -> list[EmbedJob]:
        """Pack texts, first come first served; return the job of each sequence in the batch."""
        self._batch.clear()
        owners: list[EmbedJob] = []
        for job in self._jobs:
            for tokens in job.texts[len(job.rows) :]:
                room = min(PACK_TOKENS - self._batch.size, self._batch.room)
                fits = not owners or len(tokens) <= room
                if not fits or len(owners) == self._context.max_sequences:
                    return owners
                self._batch.add(tokens, 0, len(owners), outputs="all")
                owners.append(job)
        return owners

    def _vector(self, sequence: int, normalize: bool) -> NDArray[np.float32]:
        vector = self._context.sequence_embedding(sequence).copy()
        if normalize:
            vector /= max(float(np.linalg.norm(vector)), 1e-12)
        return vector

    def _finish(self) -> None:
        while self._jobs and len(self._jobs[0].rows) == len(self._jobs[0].texts):
            job = self._jobs.popleft()
            rows = np.stack(job.rows)
            tokens = sum(map(len, job.texts))
            event = Embedded(job.request, rows.shape[0], rows.shape[1], tokens)
            self._output.event(event, rows.tobytes())
