"""Estimates of a call of ``.ollama``, measured on its first rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .report import RowReport, duration

if TYPE_CHECKING:
    from jupyter_ollama_client.client import Client

    from .jobs import RowJob

MEASURED = 20
"""The most rows that are sent for an estimate."""


@dataclass(frozen=True, repr=False)
class RowEstimate:
    """What a call of an operator will do and cost, measured on some of its rows.

    Parameters
    ----------
    operator, model : str
        The operator and the model.
    rows, missing, distinct : int
        The rows of the data, those without a text, and the different texts of the others.
    known : int
        The distinct rows whose answers are known: by the cache, or by an earlier call or estimate.
    measured : int
        The distinct rows that were sent for this estimate; their answers are kept for the call.
    remaining : int
        The distinct rows that the call will send.
    prompt_tokens, answer_tokens : int
        The tokens of the remaining rows' prompts and answers, about.
    seconds : float
        The time that the remaining rows will take, about, without loading the model.
    """

    operator: str
    model: str
    rows: int
    missing: int
    distinct: int
    known: int = 0
    measured: int = 0
    remaining: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [f"{self.rows:,} rows", f"{self.distinct:,} distinct"]
        if self.missing:
            parts.insert(1, f"{self.missing:,} missing")
        if self.known:
            parts.append(f"{self.known:,} known")
        rest = f"{self.remaining:,} to send"
        if self.remaining:
            tokens = f"{self.prompt_tokens:,} + {self.answer_tokens:,} tokens"
            rest += f": about {tokens}, {duration(self.seconds)}"
        if self.measured:
            parts.append(f"{self.measured:,} measured and kept")
        by = f" by {self.model}" if self.model else ""
        return f"{self.operator}{by}: {', '.join(parts)}; {rest}"

    __repr__ = __str__


class FirstRows:
    """The job of an estimate: it sends the first rows of another job that have no answer."""

    def __init__(self, job: RowJob) -> None:
        self.texts = job.texts[:MEASURED]
        self._job = job
        self._before = job.resumed
        self.known = 0

    @property
    def done(self) -> int:
        """The number of rows of the estimate that have an answer or a failure."""
        return min(max(self._job.done - self._before, 0), len(self.texts))

    @property
    def failures(self) -> dict[str, str]:
        """The message of each row that failed."""
        return self._job.failures

    @property
    def answers(self) -> dict[str, Any]:
        """The value of each row that has one."""
        return self._job.answers

    async def run(self, clients: Sequence[Client]) -> None:
        """Send the rows. Raises OllamaClientError or RowFailed."""
        await self._job.run(clients, self._first)

    def _first(self) -> list[str]:
        self._before = self.known = self._job.done
        self.texts = self._job.missing()[:MEASURED]
        return self.texts

    def report(self, operator: str, texts: Sequence[str | None]) -> RowReport:
        """Return what the run did for the texts of all rows, and its cost."""
        return self._job.report(operator, texts)

    def estimate(self, operator: str, texts: Sequence[str | None]) -> RowEstimate:
        """Return what the other rows will cost."""
        report = self.report(operator, texts)
        measured = len(self.texts)
        remaining = report.distinct - len(self._job.answers)
        share = remaining / measured if measured else 0.0
        seconds = max(report.seconds - self._job.tally.load_seconds, 0.0)
        return RowEstimate(
            operator,
            report.model,
            report.rows,
            report.missing,
            report.distinct,
            self.known,
            measured,
            remaining,
            round(report.prompt_tokens * share),
            round(report.answer_tokens * share),
            round(seconds * share, 3),
        )
