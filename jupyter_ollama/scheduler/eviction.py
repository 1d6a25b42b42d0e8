"""Which models make way for another: in what order, and how many of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .loaded import LoadedModel


def eviction_order(models: Iterable[LoadedModel]) -> list[LoadedModel]:
    """List what may be unloaded, the first to go first; pinned models are left out.

    Idle models go before busy ones, those kept for ever last of either, the least recently used
    first. Those that take nothing new already stay ahead of their like: to choose others instead
    would make those who wait begin anew.
    """
    return sorted(
        (model for model in models if not model.pinned),
        key=lambda model: (
            model.users > 0,
            not model.draining,
            math.isinf(model.keep_alive),
            model.used_at,
        ),
    )


def enough(ordered: Sequence[LoadedModel], shortage: int) -> list[LoadedModel] | None:
    """Take as many models as free ``shortage`` bytes, none for nothing; None if all do not."""
    taken: list[LoadedModel] = []
    for model in ordered:
        if _freed(taken) >= shortage:
            break
        taken.append(model)
    surplus = _freed(taken) - shortage
    if surplus < 0:
        return None
    # The last one was needed. Of the others, what was used most recently is spared first.
    for model in taken[-2::-1]:
        if model.size <= surplus:
            taken.remove(model)
            surplus -= model.size
    return taken


def _freed(models: Iterable[LoadedModel]) -> int:
    return sum(model.size for model in models)
