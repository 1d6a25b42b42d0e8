"""Requests that interrupt the steps of an engine, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from jupyter_ollama.engine.preemption import Preemption


@contextmanager
def requests_all_the_time(preemption: Preemption, accounts: int = 1) -> Iterator[None]:
    """Submit work of so many accounts in turn while steps run."""
    over = threading.Event()

    def ask() -> None:
        for account in cycle(range(accounts)):
            if over.wait(0.002):
                return
            preemption.hand_over(lambda: None, account)

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    over.set()
    thread.join()
