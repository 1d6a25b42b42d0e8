"""The measured costs of steps on this host: how much a step may hold, and the cost of a token.

Prompts are read in chunks, so that a long one does not delay the streams beside it (chunked
prefill: Sarathi, Agrawal et al. 2023). The speed of this host and model gives the sizes.
"""

from __future__ import annotations

import time

from .batch import Batch
from .llama_context import LlamaContext

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


ROW_COST = 8.0
"""The attention of a token that is computed as a row, as a multiple of its part of a tile: 7 to 10
from 1,000 tokens on, measured with SmolLM2 on an Intel Xeon."""

MOST_FOR_A_TILE = 2.0
"""How much longer than it should be a step may be to hold a whole tile. In long contexts the same
time is enough for a few rows only, and a prompt would take many times as long."""

LEAST_CHUNK = 8
"""Tokens of prompts in a step, however slow the host is."""


class StepCosts:
    """Sizes prefill chunks, and prices drafts, by the measured speed of this host and model."""

    def __init__(self, seconds_per_token: float, tile: int = 0) -> None:
        """``seconds_per_token`` is the cost of a token of a short prompt.

        The attention of batches of ``tile`` tokens and more is computed in tiles, that of smaller
        ones row by row, which takes ROW_COST times as long; with 0 there is no difference.
        """
        self._tile = tile
        self._weights = seconds_per_token
        self._prefill = seconds_per_token
        # Tokens cost more in a small batch than in a large one.
        self._draft = 1.5 * seconds_per_token
        self._decode: dict[int, float] = {}
        self._latest = 0.0

    def chunk(self, streams: int, seconds: float, *, may_be_longer: bool = True) -> int:
        """Return how many prompt tokens fit beside ``streams`` into a step of so many seconds.

        The step ``may_be_longer`` for a whole tile, see MOST_FOR_A_TILE.
        """
        seconds -= self._latest if streams else 0.0
        count = max(LEAST_CHUNK, int(seconds / self._prefill))
        whole = self._tile - streams
        if count >= whole:
            return count
        row = self._row_cost
        rows = max(LEAST_CHUNK, min(int(seconds / row), whole - 1))
        most = (MOST_FOR_A_TILE if may_be_longer else 1.0) * rows * row
        return whole if whole * self._prefill <= most else rows

    @property
    def _row_cost(self) -> float:
        """The seconds of a prompt token in a batch that is smaller than a tile."""
        return self._prefill + (ROW_COST - 1) * max(self._prefill - self._weights, 0.0)

    def fillers(self, batch: int, deep: int) -> int:
        """Return how many fillers make a batch with ``deep`` tokens in long contexts faster."""
        missing = self._tile - batch
        is_faster = self._tile * self._prefill < deep * self._row_cost
        return missing if missing > 0 and is_faster else 0

    def expected(self, streams: int, prefill: int) -> float:
        """Return the seconds of a step of so many streams with prompt tokens beside them."""
        decode = self._decode.get(streams, self._latest) if streams else 0.0
        is_tiled = streams + prefill >= self._tile
        return decode + prefill * (self._prefill if is_tiled else self._row_cost)

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
        return max(self.price(streams), self._prefill / worth) if worth else 1.0

    def record(self, seconds: float, streams: int, drafted: int, prefill: int) -> None:
        """Learn from a step of so many streams with their drafts, and prompt tokens beside them.

        A slower step counts at once, faster ones gradually.
        """
        if prefill >= LEAST_CHUNK:
            beside = self._decode.get(streams, self._latest) if streams else 0.0
            cost = max(seconds - beside, 1e-6) / prefill
            if streams + drafted + prefill < self._tile:
                cost = min(cost, self._weights + max(cost - self._weights, 0.0) / ROW_COST)
            self._prefill = max(cost, self._prefill + (cost - self._prefill) * 0.3)
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
