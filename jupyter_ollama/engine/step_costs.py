"""The measured costs of steps on this host: how much a step may hold, and the cost of a token.

Prompts are read in chunks, so that a long one does not delay the streams beside it (chunked
prefill: Sarathi, Agrawal et al. 2023). The speed of this host and model gives the sizes.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from .attention_costs import AttentionCosts
from .batch import Batch
from .llama_context import LlamaContext
from .reading_order import TILE

BESIDE_STREAMS = 0.15
EXPECTING_STREAMS = 0.08
BESIDE_UNSEEN = 0.25
ALONE = 0.4
"""The longest step in seconds, by its contents: the prompt of a stream beside others; prompts of
whole answers while streams run or are expected; the same without streams (200 tokens take a tenth
less time than twice 100); and prompts only, which also bounds the delay of a cancel."""

WORTH_DRAFTING = 1.2
"""The expected speed-up from which a stream is drafted: times are measured on hosts that do other
work as well."""

RELAX = 0.005
"""The fraction of the evidence against drafting that is dropped with each token not drafted."""


def token_seconds(context: LlamaContext, token: int) -> float:
    """Decode a few tokens, which loads the weights into memory; return seconds a prompt token."""
    count = min(32, context.batch)
    return min(_step_seconds(context, token, count) for _ in range(2)) / count


def solo_costs(context: LlamaContext, token: int) -> tuple[float, float]:
    """Return the seconds of a token decoded alone, and the cost of a draft as a fraction of them.

    They are measured once, so that equal requests are drafted in the same way.
    """
    drafts = min(4, context.batch - 1)
    single, several = (
        min(_step_seconds(context, token, count) for _ in range(3)) for count in (1, 1 + drafts)
    )
    return single, max(round(8 * (several - single) / drafts / single), 1) / 8


def _step_seconds(context: LlamaContext, token: int, count: int) -> float:
    batch = Batch(count)
    batch.add([token] * count, 0, 0, outputs="last")
    start = time.perf_counter()
    context.decode(batch)
    context.logits(count - 1)
    seconds = time.perf_counter() - start
    context.forget(0)
    return seconds


MOST_FOR_A_TILE = 2.0
"""How much longer than it should be a step may be to hold a whole tile. In long contexts the same
time is enough for a few rows only, and a prompt would take many times as long."""

LEAST_CHUNK = 8
"""Tokens of prompts in a step, however slow the host is."""

NEAR = 256
"""A step whose tokens follow fewer tokens, on average, measures the cost of the weights; any other
step measures the cost of attention."""


class StepContents(NamedTuple):
    """The tokens of a step: of streams, of their drafts, and of prompts with fillers beside them.

    ``cells`` is the sum, over the tokens of prompts, of the number of tokens before each.
    """

    streams: int = 0
    drafted: int = 0
    prefill: int = 0
    cells: float = 0.0

    @classmethod
    def of_prompt(cls, tokens: int, depth: int) -> StepContents:
        """Return the contents of a step that reads ``tokens`` of a prompt behind ``depth``."""
        return cls(prefill=tokens, cells=cells_before(tokens, depth))

    @property
    def size(self) -> int:
        """The tokens of the batch."""
        return self.streams + self.drafted + self.prefill


class PrefillTime(NamedTuple):
    """The seconds that the prompts of a step may take, and whether its batch has a whole tile."""

    seconds: float
    is_tiled: bool


def cells_before(tokens: int, depth: int) -> float:
    """Return the number of tokens before each of ``tokens`` behind ``depth`` others, summed."""
    return tokens * (depth + tokens / 2)


class StepCosts:
    """Sizes prefill chunks, and prices drafts, by the measured speed of this host and model.

    A token of a prompt costs its part of the weights, and its attention to each token before it.
    """

    def __init__(self, seconds_per_token: float, attention: AttentionCosts | None = None) -> None:
        """``seconds_per_token`` is the cost of a token of a short prompt.

        ``attention`` has the costs of a model that computes small batches row by row and larger
        ones in tiles. With None, all batches are computed alike.
        """
        self._tile = TILE if attention else 0
        self._weights = seconds_per_token
        self._cell = attention.tile if attention else 0.0
        self._row_cost = attention.row_cost if attention else 1.0
        # Tokens cost more in a small batch than in a large one.
        self._draft = 1.5 * seconds_per_token
        self._decode: dict[int, float] = {}
        self._latest = 0.0

    def prefill_time(
        self, streams: int, seconds: float, depth: int = 0, *, may_be_longer: bool = True
    ) -> PrefillTime:
        """Return the time for prompts beside ``streams`` in a step of so many seconds.

        The prompts are read behind ``depth`` tokens. The step ``may_be_longer`` for a whole tile,
        see MOST_FOR_A_TILE.
        """
        left = max(seconds - (self._latest if streams else 0.0), 0.0)
        whole = self.seconds(self._tile - streams, depth) if self._tile > streams else 0.0
        rows = max(left, self.seconds(LEAST_CHUNK, depth, is_tiled=False))
        if whole <= rows * (MOST_FOR_A_TILE if may_be_longer else 1.0):
            return PrefillTime(max(left, whole), is_tiled=True)
        return PrefillTime(left, is_tiled=False)

    def seconds(self, tokens: int, depth: int = 0, *, is_tiled: bool = True) -> float:
        """Return the seconds of so many tokens of a prompt behind ``depth`` others."""
        return tokens * self._weights + cells_before(tokens, depth) * self._cell_cost(is_tiled)

    def tokens(self, seconds: float, depth: int = 0, *, is_tiled: bool = True) -> int:
        """Return how many tokens of a prompt behind ``depth`` others take so many seconds."""
        if seconds <= 0:
            return 0
        cell = self._cell_cost(is_tiled)
        first = self._weights + depth * cell
        # The root of first * n + cell * n^2 / 2 = seconds, in a form that allows for a cell of 0.
        return int(2 * seconds / (first + math.sqrt(first * first + 2 * cell * seconds)))

    def _cell_cost(self, is_tiled: bool) -> float:
        return self._cell * (1.0 if is_tiled else self._row_cost)

    def seconds_alone(self, tokens: int, depth: int) -> float:
        """Return the seconds of the end of a prompt in a batch of its own, filled if that pays."""
        missing = max(self._tile - tokens, 0)
        filled = missing * self._weights + self.seconds(tokens, depth)
        return min(filled, self.seconds(tokens, depth, is_tiled=missing == 0))

    def fillers(self, batch: int, cells: float) -> int:
        """Return how many fillers make a batch faster whose prompts have ``cells`` before them."""
        missing = self._tile - batch
        saved = (self._row_cost - 1) * self._cell * cells
        return missing if 0 < missing * self._weights < saved else 0

    def expected(self, contents: StepContents) -> float:
        """Return the seconds of a step."""
        cells = contents.cells * self._cell_cost(contents.size >= self._tile)
        return self._beside(contents.streams) + contents.prefill * self._weights + cells

    def _beside(self, streams: int) -> float:
        """Return the seconds of so many streams without prompts."""
        return self._decode.get(streams, self._latest) if streams else 0.0

    def price(self, streams: int) -> float:
        """Return the cost of one more token in a step, as a fraction of a stream's token."""
        decode = self._decode.get(streams)
        return self._draft * streams / decode if decode else 1.0

    def worth(self, streams: int) -> float:
        """Return the seconds that a stream's token takes, 0 before the first measurement."""
        return self._decode.get(streams, 0.0) / streams

    def safe_price(self, streams: int) -> float:
        """Return the price, or the cost of a prompt token if that is higher.

        Drafts seem to cost nothing where plain steps were delayed by other work on the host; but no
        token is read for less than one of a large batch.
        """
        worth = self.worth(streams)
        return max(self.price(streams), self._weights / worth) if worth else 1.0

    def record(self, seconds: float, contents: StepContents) -> None:
        """Learn from a step.

        A slower step counts at once, faster ones gradually.
        """
        streams, drafted, prefill, cells = contents
        if prefill >= LEAST_CHUNK:
            cost = max(seconds - self._beside(streams), 1e-6)
            if contents.size < self._tile:
                cells *= self._row_cost
            if cells < NEAR * prefill:
                weights = max(cost - cells * self._cell, cost / 4) / prefill
                self._weights = max(weights, self._weights + (weights - self._weights) * 0.3)
            else:
                cell = max(cost - prefill * self._weights, 0.0) / cells
                self._cell = max(cell, self._cell + (cell - self._cell) * 0.3)
        elif not prefill and drafted:
            cost = max(seconds - self._decode.get(streams, seconds), 0.0) / drafted
            self._draft += (cost - self._draft) * 0.2
        elif not prefill:
            known = self._decode.get(streams, seconds)
            self._decode[streams] = known + (seconds - known) * 0.2
            self._latest += (seconds - self._latest) * 0.2


class DraftCosts:
    """The measured costs of a draft model, and the number of drafts that pays.

    Measurements from a time or a sequence in which drafting did not pay lose weight (``relax``), so
    that drafting is tried again.
    """

    def __init__(self, step: float, read: float) -> None:
        """``step`` is how long one token of one sequence takes, ``read`` a token of a prompt."""
        self._alone = step
        self._steps: dict[int, float] = {}
        self._read = read

    def length(
        self, rate: float, sequences: int, worth: float, price: float, limit: int
    ) -> tuple[int, float]:
        """Return how many tokens to draft, ``limit`` at most, and the expected speed-up.

        A token is right with probability ``rate`` if those before it are; ``sequences`` share a
        step of the draft model. A token of the model takes ``worth`` seconds (0: unknown), reading
        one more of them costs ``price``, as a fraction of that. This is the speed-up of speculative
        decoding (Leviathan et al. 2023) at measured costs.
        """
        best, speed, tokens, likely = 0, WORTH_DRAFTING, 1.0, 1.0
        cost = self._step(sequences) / sequences / worth + price if worth else 1.0
        for count in range(1, limit + 1):
            likely *= rate
            tokens += likely
            if tokens / (1 + count * cost) > speed:
                best, speed = count, tokens / (1 + count * cost)
        return best, speed

    def affords(self, behind: int, waited: int, saving: float) -> bool:
        """True if reading ``behind`` tokens costs no more than drafting would have saved so far.

        That is ``saving`` seconds for each of the ``waited`` tokens that were not drafted. A short
        answer never reaches that point; a long one loses little by the delay.
        """
        return behind * self._read <= waited * saving

    def chunk(self, seconds: float) -> int:
        """Return how many tokens to read in about so many seconds."""
        return max(8, int(seconds / self._read))

    def record_read(self, seconds: float, tokens: int) -> None:
        """Learn from reading so many tokens at once."""
        if tokens >= 8:
            self._read += (seconds / tokens - self._read) * 0.3

    def record_step(self, seconds: float, sequences: int) -> None:
        """Learn from drafting one token for so many sequences."""
        known = self._steps.get(sequences, seconds)
        self._steps[sequences] = known + (seconds - known) * 0.2

    def relax(self, sequences: int) -> None:
        """Move the measured step time towards the first one, since it was too slow to be used."""
        if sequences in self._steps:
            self._steps[sequences] += (self._alone - self._steps[sequences]) * RELAX

    def _step(self, sequences: int) -> float:
        return self._steps.get(sequences, self._alone)
