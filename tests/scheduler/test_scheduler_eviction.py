"""The order and the number of evictions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from jupyter_ollama.scheduler.eviction import eviction_order, select_victims


@dataclass(eq=False)
class Fake:
    """The properties of a loaded model that matter for eviction."""

    size: int = 1
    users: int = 0
    draining: bool = False
    keep_alive: float = 60
    used_at: float = 0
    pinned: bool = False


def test_the_order() -> None:
    ordered = [
        Fake(used_at=2, keep_alive=900),
        Fake(used_at=3, keep_alive=1),
        Fake(used_at=1, keep_alive=math.inf),
        # It is draining: to choose another one now would restart the wait.
        Fake(used_at=5, users=9, draining=True),
        Fake(used_at=4, users=1),
        Fake(used_at=0, users=1, keep_alive=math.inf),
    ]
    assert eviction_order([Fake(pinned=True), *reversed(ordered)]) == ordered


@given(st.lists(st.integers(1, 9)), st.integers(-5, 40))
def test_the_number_of_victims(sizes: list[int], shortage: int) -> None:
    models = [Fake(size) for size in sizes]
    taken = select_victims(models, shortage)
    if taken is None:
        assert sum(sizes) < shortage
        return
    freed = sum(model.size for model in taken)
    assert freed >= shortage
    assert all(freed - model.size < shortage for model in taken)
    assert taken == [model for model in models if model in taken]
