"""What the usage file records, and what is read from it at the start."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..budgets.ledger import Spent


class FinishedRequest(Protocol):
    """The fields of a finished request that the file stores; times as in time.perf_counter().

    ``once`` is an id under which the cost is recorded once, also after a new start; "" for none.
    """

    user: str
    groups: tuple[str, ...]
    model: str
    digest: str
    path: str
    status: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    waited: float
    opened: float
    closed: float
    number: int
    once: str

    @property
    def recorded_at(self) -> float | None:
        """The time of its record, of time.time(); None for now."""


class Since(NamedTuple):
    """A period to read at the start: from a time on, summed up over so many seconds."""

    time: float
    bucket: float


class Past(NamedTuple):
    """What was recorded before the start: tokens by period, blocked users, limits for a time."""

    spent: dict[str, list[Spent]]
    blocked: set[str]
    overrides: dict[str, str]
