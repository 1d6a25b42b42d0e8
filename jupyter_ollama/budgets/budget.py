"""A budget: whose tokens, with which models, in which period, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from .periods import PERIODS, Period

EVERYONE = "*"
GROUP = "group:"
USER = "user:"


class Key(NamedTuple):
    """What a counter counts.

    ``holder`` is "user:NAME", "group:NAME" or "*"; ``models`` a pattern of names, "" for all.
    """

    holder: str
    models: str
    period: str

    @property
    def text(self) -> str:
        """The key as one text, for a store of another process."""
        return f"{self.period} {self.models or '*'} {self.holder}"


def matches(pattern: str, model: str) -> bool:
    """Return whether a pattern names a model, given with its tag ("gemma3:1b")."""
    name, pattern = model.lower(), pattern.lower()
    return any(fnmatchcase(one, pattern) for one in (name, name.split(":")[0]))


@dataclass(frozen=True)
class Budget:
    """A limit of tokens. From the part ``soft`` of it on, answers have a warning."""

    key: Key
    limit: int
    soft: float | None = None

    @property
    def period(self) -> Period:
        """The period that the limit is for."""
        return PERIODS[self.key.period]

    def spent(self, used: int) -> str:
        """Return a sentence about the tokens that are used of the budget."""
        holder, name = self.key.holder.partition(":")[::2]
        of = f" of {self.key.models}" if self.key.models else ""
        if holder == "user":
            start, its = "you have used", "the"
        elif holder == "group":
            start, its = f"the members of the group '{name}' have used", "their"
        else:
            start, its = "all users together have used", "their"
        return f"{start} {used} tokens{of}, {its} limit is {self.limit} {self.period.phrase}"

    def described(self, used: int) -> dict[str, Any]:
        """Return the budget and its use for a client."""
        fields: dict[str, Any] = {
            "of": self.key.holder,
            "model": self.key.models or None,
            "period": self.key.period,
            "limit": self.limit,
            "used": used,
            "left": max(0, self.limit - used),
            "soft": self.soft,
        }
        return {name: value for name, value in fields.items() if value is not None}
