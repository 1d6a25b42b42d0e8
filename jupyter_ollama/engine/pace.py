"""How long steps take on this host: what a step may hold, and what one more token costs."""

from __future__ import annotations

BESIDE_STREAMS = 0.15
EXPECTING_STREAMS = 0.08
BESIDE_UNSEEN = 0.25
ALONE = 0.4
"""Seconds a step may last that reads the prompt of a stream beside others; one that reads those of
whole answers while streams run or are expected; the same where nobody sees an answer grow (200
tokens take a tenth less than twice 100); and one that does nothing else, which is also how long a
cancel can take to be seen."""

WORTH_DRAFTING = 1.2
"""How much faster than a plain stream one with drafts must be expected to be: times are measured on
hosts that do other things as well."""

RELAX = 0.005
"""The part of what speaks against drafting that is forgotten with each token not drafted."""


class Pace:
    """Sizes prefill chunks, and prices drafts, by the measured speed of this host and model."""

    def __init__(self, seconds_per_token: float) -> None:
        self._prefill = seconds_per_token
        # Tokens cost more in a batch of few than in one of many.
        self._draft = 1.5 * seconds_per_token
        self._decode: dict[int, float] = {}
        self._latest = 0.0

    def chunk(self, streams: int, seconds: float) -> int:
        """Return how many prompt tokens fit beside ``streams`` into a step of so many seconds."""
        return max(8, int((seconds - (self._latest if streams else 0.0)) / self._prefill))

    def expected(self, streams: int, prefill: int) -> float:
        """Return the seconds of a step of so many streams with prompt tokens beside them."""
        decode = self._decode.get(streams, self._latest) if streams else 0.0
        return decode + prefill * self._prefill

    def price(self, streams: int) -> float:
        """Return the cost of one more token in a step, as a part of what a stream's token costs."""
        decode = self._decode.get(streams)
        return self._draft * streams / decode if decode else 1.0

    def worth(self, streams: int) -> float:
        """Return the seconds that a stream's token takes, 0 as long as nobody knows."""
        return self._decode.get(streams, 0.0) / streams

    def safe_price(self, streams: int) -> float:
        """Return the price, or what a token of a prompt costs if that is more.

        Drafts seem to cost nothing where plain steps were slowed down by something else; but no
        token is read for less than one of a large batch.
        """
        worth = self.worth(streams)
        return max(self.price(streams), self._prefill / worth) if worth else 1.0

    def record(self, seconds: float, streams: int, drafted: int, prefill: int) -> None:
        """Learn from a step of so many streams with their drafts, and prompt tokens beside them.

        Slower is believed at once, faster by and by.
        """
        if prefill >= 8:
            beside = self._decode.get(streams, self._latest) if streams else 0.0
            cost = max(seconds - beside, 1e-6) / prefill
            self._prefill = max(cost, self._prefill + (cost - self._prefill) * 0.3)
        elif not prefill and drafted:
            cost = max(seconds - self._decode.get(streams, seconds), 0.0) / drafted
            self._draft += (cost - self._draft) * 0.2
        elif not prefill:
            known = self._decode.get(streams, seconds)
            self._decode[streams] = known + (seconds - known) * 0.2
            self._latest += (seconds - self._latest) * 0.2


class DraftPace:
    """What a draft model costs here, and how far it is worth drafting.

    What was learned of a time or a sequence in which drafting did not pay is forgotten by and by
    (``relax``), so that it is tried again.
    """

    def __init__(self, step: float, read: float) -> None:
        """``step`` is how long one token of one sequence takes, ``read`` a token of a prompt."""
        self._alone = step
        self._steps: dict[int, float] = {}
        self._read = read

    def length(
        self, rate: float, sequences: int, worth: float, price: float, limit: int
    ) -> tuple[int, float]:
        """Return how many tokens to draft, ``limit`` at most, and how much faster that should be.

        A token is right with ``rate`` if those before it are; ``sequences`` share a step of the
        draft model. A token of the model is ``worth`` so many seconds (0: nobody knows), reading
        one more of them costs ``price``, as a part of it.
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

        That is ``saving`` seconds for each of the ``waited`` tokens that were not drafted. Who
        answers shortly never gets there; who answers at length loses little by the delay.
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
        """Believe a little more in a quick draft model, since it did not pay to measure it."""
        if sequences in self._steps:
            self._steps[sequences] += (self._alone - self._steps[sequences]) * RELAX

    def _step(self, sequences: int) -> float:
        return self._steps.get(sequences, self._alone)
