"""The rows about users and groups: tokens by period, limits, and the tokens that remain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from ..api.usage import used
from ..budgets.budget import EVERYONE, GROUP, USER, Budget, Key
from ..budgets.periods import PERIODS

if TYPE_CHECKING:
    from ..scheduler.admission import Admission

Row = dict[str, Any]
COUNTS = ("concurrent", "queue", "models", "num_ctx", "num_predict")
"""Limits that no budget has."""


def keys_of(holder: str, budgets: Iterable[Budget]) -> list[Key]:
    """Return the keys of all counters in a row."""
    return [Key(holder, "", period) for period in PERIODS] + [one.key for one in budgets]


def user_row(admission: Admission, name: str, groups: tuple[str, ...]) -> Row:
    """Return the row of a user."""
    account = admission.accounts.get(name)
    limits = msgspec.to_builtins(admission.limits(name, groups))
    return {
        "name": name,
        "groups": list(groups),
        "running": account.running if account else 0,
        "waiting": account.waiting if account else 0,
        **tokens(admission, USER + name),
        "budgets": [used(admission, one) for one in admission.budgets(name, groups)],
        "limits": {name: value for name in COUNTS if (value := limits[name]) is not None},
        "blocked": name in admission.blocked,
    }


def group_row(admission: Admission, name: str, members: Iterable[Row]) -> Row:
    """Return the row of a group, or of all users for "*"."""
    holder = EVERYONE if name == EVERYONE else GROUP + name
    rows = list(members)
    return {
        "name": name,
        "members": len(rows),
        "running": sum(row["running"] for row in rows),
        "waiting": sum(row["waiting"] for row in rows),
        **tokens(admission, holder),
        "budgets": [used(admission, one) for one in admission.budgets_of_group(holder)],
    }


def tokens(admission: Admission, holder: str) -> dict[str, int]:
    """Return the tokens that a holder has spent, by period."""
    ledger = admission.ledger
    return {period: ledger.counter(Key(holder, "", period)).total for period in PERIODS}
