"""Limits that an administrator has set until a date, on top of the settings."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from .limits import Table, check_limits, check_shared

Place = Literal["limits", "shared_budgets"]
CHECKS = {"limits": check_limits, "shared_budgets": check_shared}


class Override(NamedTuple):
    """Limits of "user:NAME", "group:NAME" or "*" until a time of time.time().

    ``place`` is the setting that they change: the limits of each, or the shared budgets.
    """

    place: Place
    holder: str
    limits: dict[str, Any]
    until: float

    @property
    def field(self) -> str:
        """What the override replaces, as one text."""
        return f"{self.place} {self.holder}"

    @property
    def value(self) -> str:
        """The limits and the date, as one text."""
        return json.dumps({"limits": self.limits, "until": self.until})

    def check(self) -> None:
        """Raise ValueError unless the limits are valid."""
        if self.limits.get("per_model"):
            raise ValueError("limits of single models are set in the configuration only")
        CHECKS[self.place]({self.holder: self.limits})


class Overrides:
    """The limits that hold for a time, and the settings with them."""

    def __init__(self) -> None:
        self._all: dict[str, Override] = {}
        self._tables: dict[str, tuple[Table, Table]] = {}
        self._next_end = 0.0

    def read(self, texts: Mapping[str, str]) -> None:
        """Replace all by those of a store, as field and value."""
        self._all = {}
        for field, value in texts.items():
            place, _, holder = field.partition(" ")
            if place in CHECKS and value:
                self._all[field] = Override(place, holder, **json.loads(value))  # type: ignore[arg-type]
        self._tables = {}

    def set(self, override: Override) -> None:
        """Add or replace one."""
        self._all[override.field] = override
        self._tables = {}

    def remove(self, field: str) -> bool:
        """Remove one; return False if there is none."""
        self._tables = {}
        return self._all.pop(field, None) is not None

    def current(self) -> list[Override]:
        """Return those that have not ended."""
        now = time.time()
        return [one for one in self._all.values() if one.until > now]

    def applied(self, place: Place, table: Table) -> Table:
        """Return a setting with the limits that hold now in place of its own."""
        if not self._all:
            return table
        known = self._tables.get(place)
        if known and known[0] is table and time.time() < self._next_end:
            return known[1]
        if time.time() >= self._next_end:
            self._tables = {}
        current = self.current()
        merged = dict(table)
        for one in current:
            if one.place == place:
                merged[one.holder] = {**merged.get(one.holder, {}), **one.limits}
        self._next_end = min((one.until for one in current), default=float("inf"))
        self._tables[place] = table, merged
        return merged
