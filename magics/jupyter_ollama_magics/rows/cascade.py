"""Cascades: a small model answers, and a large one gets the rows of which the small one is unsure.

Both answer a sample, from which the threshold of the probability is learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..failures import OllamaMagicsError
from . import threshold
from .confidence import agree
from .jobs import RowJob
from .report import CascadeReport, RowReport

if TYPE_CHECKING:
    from jupyter_ollama_client.client import Client

MODELS = 2
AGREE, LEAST, MOST = 0.95, 0.5, 0.999
"""The share of rows in which the result agrees with the large model: the default and the limits."""

EXAMPLE = 'model=["small", "large"]'


def check(model: Any, wanted: Any, capability: str) -> None:
    """Raise OllamaMagicsError unless ``model`` is a name, two names or None."""
    if isinstance(model, str | None):
        if wanted is not None:
            raise OllamaMagicsError(f"agree needs two models: {EXAMPLE}.")
        return
    if not isinstance(model, list | tuple):
        raise OllamaMagicsError(f"model is a name, not {type(model).__name__}.")
    if len(model) != MODELS or not all(isinstance(one, str) for one in model):
        raise OllamaMagicsError(f"A cascade has the names of two models: {EXAMPLE}.")
    if model[0] == model[1]:
        raise OllamaMagicsError(f"A cascade has two different models: {EXAMPLE}.")
    if capability != "completion":
        raise OllamaMagicsError("A cascade compares answers, and vectors are none: give one model.")
    if wanted is None:
        return
    if (
        isinstance(wanted, bool)
        or not isinstance(wanted, int | float)
        or not LEAST <= wanted <= MOST
    ):
        raise OllamaMagicsError(f"agree is a share from {LEAST} to {MOST}, such as {AGREE}.")


class CascadeJob:
    """The distinct rows of a call, answered by a small model where it is sure, else by a large one.

    ``small`` and ``large`` are jobs of the same rows; the values of ``small`` are ``Sure``. Its
    failures are no failures of the cascade: the large model gets these rows. ``clients`` are those
    of the small model. Values agree if they are the same answer, or what ``verdict`` makes of them.
    """

    def __init__(
        self,
        small: RowJob,
        large: RowJob,
        clients: Sequence[Client],
        wanted: float,
        verdict: Callable[[Any], Any] | None = None,
    ) -> None:
        self.texts = large.texts
        self._small, self._large = small, large
        self._clients = clients
        self._wanted = wanted
        self._verdict = verdict or (lambda value: value)
        self._sample = threshold.sample(self.texts, wanted)
        self._in_sample = set(self._sample)
        self._learned: threshold.Threshold | None = None
        self._seen = self._kept = 0

    @property
    def done(self) -> int:
        """The number of rows with a final answer or a failure."""
        if self._learned is not None:
            # Another thread adds answers: a copy is taken at once.
            new = list(self._small.answers)[self._seen :]
            self._seen += len(new)
            self._kept += sum(map(self._keeps, new))
        return self._large.done + self._kept

    @property
    def answers(self) -> dict[str, Any]:
        """The value of each row that has one."""
        kept = {text: sure.value for text, sure in self._small.answers.items() if self._keeps(text)}
        return kept | self._large.answers

    @property
    def failures(self) -> dict[str, str]:
        """The messages of the rows that the large model could not answer."""
        return self._large.failures

    async def run(self, clients: Sequence[Client]) -> None:
        """Send the rows; ``clients`` are those of the large model.

        Raises OllamaClientError or RowFailed.
        """
        try:
            await self._run(clients)
        except BaseException:
            self._small.keep()
            self._large.keep()
            raise

    async def _run(self, clients: Sequence[Client]) -> None:
        if len(self._sample) == len(self.texts):  # too few rows to learn from
            await self._large.run(clients)
            return
        await self._small.run(self._clients, lambda: self._sample)
        await self._large.run(clients, lambda: self._sample)
        self._learned = threshold.learn(map(self._compared, self._sample), self._wanted)
        if math.isfinite(self._learned.value):
            await self._small.run(self._clients)
        await self._large.run(clients, self._others)

    def _others(self) -> list[str]:
        """Return the rows that need an answer of the large model."""
        return [text for text in self.texts if not self._keeps(text)]

    def _compared(self, text: str) -> tuple[float, bool]:
        """Return the small model's probability for a row of the sample, and if both agree."""
        sure = self._small.answers.get(text)
        if sure is None:
            return -1.0, True
        if text not in self._large.answers:
            return sure.probability, False
        values = sure.value, self._large.answers[text]
        return sure.probability, agree(*map(self._verdict, values))

    def _keeps(self, text: str) -> bool:
        """Return whether the small model's answer is the final one."""
        if self._learned is None or text in self._in_sample or text in self._large.answers:
            return False
        sure = self._small.answers.get(text)
        return sure is not None and sure.probability >= self._learned.value

    def report(self, operator: str, texts: Sequence[str | None]) -> RowReport:
        """Return what the run did for the texts of all rows, and its cost."""
        small = self._small.report(operator, texts)
        large = self._large.report(operator, texts)
        return RowReport(
            operator,
            f"{small.model}, {large.model}",
            f"{small.digest}, {large.digest}",
            rows=large.rows,
            missing=large.missing,
            distinct=large.distinct,
            cached=small.cached + large.cached,
            resumed=small.resumed + large.resumed,
            calls=small.calls + large.calls,
            prompt_tokens=small.prompt_tokens + large.prompt_tokens,
            answer_tokens=small.answer_tokens + large.answer_tokens,
            seconds=round(small.seconds + large.seconds, 3),
            failures=large.failures,
            cascade=self._shares(small, large),
        )

    def _shares(self, small: RowReport, large: RowReport) -> CascadeReport:
        learned = self._learned or threshold.Threshold(math.inf, 1.0, 1.0)
        return CascadeReport(
            small=small.model,
            large=large.model,
            wanted=self._wanted,
            sample=len(self._sample),
            threshold=learned.value if math.isfinite(learned.value) else None,
            agreement=learned.agreement,
            at_least=learned.at_least,
            sent_on=self._large.done / max(len(self.texts), 1),
            small_calls=small.calls,
            large_calls=large.calls,
            seconds_saved=self._saved(small, large),
        )

    def _saved(self, small: RowReport, large: RowReport) -> float | None:
        """Return the time saved, by the speed of the large model after it was loaded."""
        measured = self._large.seconds - self._large.tally.load_seconds
        known = large.cached + large.resumed
        if not large.calls or measured <= 0:
            return None
        alone = measured / large.calls * (len(self.texts) - known)
        spent = measured + self._small.seconds - self._small.tally.load_seconds
        return round(alone - spent, 3)
