"""Reports of calls of ``.ollama``: how many rows and requests, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..failures import OllamaMagicsError

_COUNTS = (
    "rows", "missing", "distinct", "cached", "resumed", "calls", "prompt_tokens", "answer_tokens",
    "failures",
)  # fmt: skip

_last: list[RowReport] = []
"""The report of the last call of this process, if any."""


@dataclass(frozen=True)
class CascadeReport:
    """How two models shared the rows of a cascade; counts are of distinct rows.

    Parameters
    ----------
    small, large : str
        The models.
    wanted : float
        The share of rows in which the result shall agree with the large model.
    sample : int
        The number of rows that both models answered, from which the threshold was learned.
    threshold : float or None
        The least probability of an answer of the small model that is used, None if none is used.
    agreement, at_least : float
        The share of the sample in which the result agrees with the large model, and its lower
        confidence bound (95 %, one-sided) for all rows.
    sent_on : float
        The share of the rows that the large model answered, the sample included.
    small_calls, large_calls : int
        The number of requests to each model.
    seconds_saved : float or None
        The time that the large model would have taken for all rows at its measured speed, less the
        time of the call; negative if the cascade was slower. None if it was not measured.
    """

    small: str
    large: str
    wanted: float
    sample: int
    threshold: float | None
    agreement: float
    at_least: float
    sent_on: float
    small_calls: int
    large_calls: int
    seconds_saved: float | None

    def __str__(self) -> str:
        if self.threshold is None:
            kept = f"the sample of {self.sample} rows gave no threshold for {self.small}"
        else:
            kept = (
                f"agreement {self.agreement:.1%} (at least {self.at_least:.1%}) at a probability "
                f"of {self.threshold:.3g}, learned on {self.sample} rows"
            )
        parts = [kept, f"{self.sent_on:.0%} sent on to {self.large}"]
        if self.seconds_saved is not None:
            word = "saved" if self.seconds_saved >= 0 else "lost"
            parts.append(f"{duration(abs(self.seconds_saved))} {word}")
        return ", ".join(parts)


@dataclass(frozen=True, repr=False)
class RowReport:
    """What a call of a method did and cost; the sums of its rounds if it sends rows several times.

    Parameters
    ----------
    operator : str
        The name of the method.
    model, digest : str
        The model, and the digest of its content; several with commas between
        them for a cascade or for rounds of different models.
    rows, missing, distinct : int
        The rows of the data, those without a text, and the different texts of the others.
    cached, resumed : int
        The distinct rows whose answers came from the cache, and from an interrupted call.
    calls : int
        The requests that servers answered.
    prompt_tokens, answer_tokens : int
        The tokens of the prompts and the answers of these requests.
    seconds : float
        The time of the requests, from the first to the last.
    failures : int
        The rows that failed.
    cascade : CascadeReport, optional
        How two models shared the rows.
    """

    operator: str
    model: str
    digest: str
    rows: int
    missing: int
    distinct: int
    cached: int = 0
    resumed: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0
    failures: int = 0
    cascade: CascadeReport | None = None

    def __str__(self) -> str:
        parts = [f"{self.rows:,} rows"]
        if self.missing:
            parts.append(f"{self.missing:,} missing")
        if self.distinct != self.rows - self.missing:
            parts.append(f"{self.distinct:,} distinct")
        if self.cached:
            parts.append(f"{self.cached:,} from the cache")
        if self.resumed:
            parts.append(f"{self.resumed:,} from an earlier call")
        parts.append(f"{self.calls:,} requests")
        if self.prompt_tokens or self.answer_tokens:
            parts.append(f"{self.prompt_tokens:,} + {self.answer_tokens:,} tokens")
        parts.append(duration(self.seconds))
        if self.failures:
            parts.append(f"{self.failures:,} failed")
        by = f" by {self.model}" if self.model else ""
        line = f"{self.operator}{by}: {', '.join(parts)}"
        return f"{line}; {self.cascade}" if self.cascade else line

    __repr__ = __str__

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as values of JSON, as ``attrs["ollama"]`` of a result holds them."""
        return asdict(self)


def joined(name: str, reports: Sequence[RowReport]) -> RowReport:
    """Return one report of the rounds of a method."""
    models = dict.fromkeys((one.model, one.digest) for one in reports)
    names = [model for model, _ in models if model]
    digests = [digest for _, digest in models if digest]
    counts = {field: sum(getattr(one, field) for one in reports) for field in (*_COUNTS, "seconds")}
    return RowReport(name, ", ".join(names), ", ".join(digests), **counts)


def remember(report: RowReport) -> None:
    """Keep a report as the last one."""
    _last[:] = [report]


def last() -> RowReport:
    """Return the report of the last call of this process. Raises OllamaMagicsError."""
    if not _last:
        raise OllamaMagicsError("No call of .ollama has finished yet.")
    return _last[0]


def duration(seconds: float) -> str:
    """Return a time in words: "0.3 s", "12 s" or "3:05 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return f"{minutes}:{rest:02d} min"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{rest} s"
