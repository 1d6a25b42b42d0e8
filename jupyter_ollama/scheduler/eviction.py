"""The choice of the models that are evicted to load another one."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

from .account import Account
from .loaded_base import LoadedBase

USER_SECONDS = 300.0
"""The time after a request for which its user counts as a user of the model."""

MOST_OTHERS = 10
"""The largest number of other users that extend the residence of a model."""


def count_other_users(model: LoadedBase, account: Account | None) -> int:
    """Return the number of users besides the one whose load needs memory, 0 for None."""
    return len(model.users_since(USER_SECONDS) - {account}) if account else 0


def residence_left(model: LoadedBase, account: Account | None, min_residence: float) -> float:
    """Return the seconds for which a model may not be evicted for the load of a user.

    A model stays for ``min_residence`` from its load on, for each of its other users.
    """
    others = min(count_other_users(model, account), MOST_OTHERS)
    return max(0.0, model.loaded_at + min_residence * others - time.monotonic()) if others else 0.0


def eviction_order(
    models: Iterable[LoadedBase], account: Account | None = None
) -> list[LoadedBase]:
    """List the models that may be evicted, in the order of eviction; pinned ones may not.

    For the load of an ``account``, models without other users go first.

    Idle models go before busy ones, those with an infinite keep-alive last of either, the least
    recently used first. Draining models keep their precedence over similar ones: to drain others
    instead would restart the wait of the load.
    """
    return sorted(
        (model for model in models if not model.pinned),
        key=lambda model: (
            count_other_users(model, account) > 0,
            model.users > 0,
            not model.draining,
            math.isinf(model.keep_alive),
            model.used_at,
        ),
    )


def select_victims(ordered: Sequence[LoadedBase], shortage: int) -> list[LoadedBase] | None:
    """Return the models that free ``shortage`` bytes, or None if all of them do not suffice."""
    taken: list[LoadedBase] = []
    for model in ordered:
        if _freed(taken) >= shortage:
            break
        taken.append(model)
    surplus = _freed(taken) - shortage
    if surplus < 0:
        return None
    # The last one is needed. Of the others, spare the most recently used ones first.
    for model in taken[-2::-1]:
        if model.size <= surplus:
            taken.remove(model)
            surplus -= model.size
    return taken


def _freed(models: Iterable[LoadedBase]) -> int:
    return sum(model.size for model in models)
