"""An embedding context and the batch that it runs: whole texts, and a part of a long one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import llama_cpp.llama_cpp as llama

from .adapters import NO_ADAPTERS
from .batch import Batch
from .llama_context import INTERRUPTED
from .step_costs import cells_before

if TYPE_CHECKING:
    from .embed_job import EmbedJob
    from .llama_context import LlamaContext

PACK_TOKENS = 256
"""Tokens of a batch of several texts. On a CPU, larger batches are no faster, and slower from 500
tokens on: attention reads the mask of every pair. Smaller ones wait more between the layers."""


def can_split(context: LlamaContext, *, is_causal: bool) -> bool:
    """Return whether a text may be decoded in several batches with the same result.

    The last token must attend to all earlier ones in the KV cache and be the only one pooled.
    """
    pooling = llama.llama_pooling_type(context.pointer)
    return is_causal and bool(context.memory) and pooling == llama.LLAMA_POOLING_TYPE_LAST


@dataclass
class SplitText:
    """A text that is decoded in several batches; the KV cache has its first ``done`` tokens."""

    job: EmbedJob
    index: int
    tokens: list[int]
    done: int = 0

    @property
    def adapters(self) -> int:
        """The number of its adapters."""
        return self.job.command.adapters

    @property
    def remaining(self) -> int:
        """Tokens to decode."""
        return len(self.tokens) - self.done


class Lane:
    """A context and its batch. ``texts`` has the request and index of each whole text in it.

    Where texts may be split, ``split`` is the one under way; its sequence id is the last one. A
    batch that ``is_interrupted`` has to run again.
    """

    def __init__(self, context: LlamaContext, *, splits: bool = False) -> None:
        self.context = context
        self.splits = splits
        self.batch = Batch(context.batch)
        self.texts: list[tuple[EmbedJob, int]] = []
        self.split: SplitText | None = None
        self.adapters = NO_ADAPTERS
        self.is_interrupted = False
        self.interrupted_by: list[int] = []
        """The accounts whose streams have interrupted the batch."""
        self._split_id = context.max_sequences - 1
        self._part = 0
        self._budget = PACK_TOKENS

    def replace(self, context: LlamaContext) -> None:
        """Continue with another context; a text that is split is decoded again from its start."""
        self.context.close()
        self.context = context
        self.batch = Batch(context.batch)
        self.texts = []
        self._split_id = context.max_sequences - 1
        if self.split:
            self.split.done = 0

    def clear(self, most: int, adapters: int = NO_ADAPTERS) -> None:
        """Empty the batch, which may then take ``most`` tokens of texts where these may be split.

        It is to be computed with a set of adapters.
        """
        self.adapters = adapters
        self.batch.clear()
        self.texts = []
        self.interrupted_by = []
        self._part = 0
        self._budget = min(most, self.batch.capacity)
        if self.split and self.split.job.ended:
            self.context.forget(self._split_id)
            self.split = None

    @property
    def is_full(self) -> bool:
        """True if no sequence id is left for another text."""
        return len(self.texts) == self.context.max_sequences - self.splits

    def fits(self, tokens: list[int]) -> bool:
        """Return whether a whole text may join the batch.

        One that is longer than a pack runs alone, unless texts may be split: then half of the
        batch is for the text that is.
        """
        if self.splits:
            budget = min(self._budget // 2 if self.continues else self._budget, PACK_TOKENS)
            return len(tokens) <= budget - self.batch.size
        pack = PACK_TOKENS - self.batch.size if self.texts else self.batch.remaining
        return len(tokens) <= min(pack, self.batch.remaining)

    def add(self, tokens: list[int], job: EmbedJob) -> None:
        """Add the next text of ``job`` to the batch."""
        self.batch.add(tokens, 0, len(self.texts), outputs="all")
        self.texts.append((job, job.take()))

    def add_part(self, most: int) -> None:
        """Add ``most`` tokens of the text that is split, if it has as many."""
        split = self.split
        assert split
        count = min(most, split.remaining, self.batch.remaining)
        part = split.tokens[split.done : split.done + count]
        self.batch.add(part, split.done, self._split_id, outputs="all")
        split.done += count
        self._part = count

    @property
    def cells(self) -> float:
        """The sum, over the tokens of the part, of the number of tokens before each."""
        return cells_before(self._part, self.split.done - self._part) if self.split else 0.0

    @property
    def continues(self) -> bool:
        """True if the batch may get a part of the text that is split: it has the same adapters."""
        return self.split is not None and self.split.adapters == self.adapters

    def run(self, threads: int) -> int:
        """Run the batch on ``threads`` threads and return llama_decode's code."""
        self.context.apply(self.adapters)
        llama.llama_set_n_threads(self.context.pointer, threads, threads)
        code = self.context.decode(self.batch)
        self.is_interrupted = code == INTERRUPTED
        if self.split is None or code not in (0, INTERRUPTED):
            self.context.forget(-1)
            return code
        for sequence in range(len(self.texts)):
            self.context.forget(sequence)
        if self.is_interrupted and self._part:
            self.context.cut(self._split_id, self.split.done - self._part)
        return code

    def deliver(self) -> None:
        """Copy the vectors of the batch that ran to their requests."""
        for sequence, (job, index) in enumerate(self.texts):
            job.put(index, self.context.sequence_embedding(sequence))
        if self.split and not self.split.remaining:
            vector = self.context.sequence_embedding(self._split_id)
            self.split.job.put(self.split.index, vector)

    def end_split(self) -> None:
        """Free the cells of a text that is read to its end, or whose batch failed."""
        self.context.forget(self._split_id)
        self.split = None

    @property
    def jobs(self) -> list[EmbedJob]:
        """The requests that have a text in the batch or in the KV cache."""
        split = [self.split.job] if self.split else []
        return list(dict.fromkeys([job for job, _ in self.texts] + split))
