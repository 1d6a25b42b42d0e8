"""Coroutines in a thread end with any exception of the thread that waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from jupyter_ollama_magics.interruptible import run_in_thread


class Work:
    """A coroutine that ends when it is cancelled only."""

    def __init__(self) -> None:
        self.is_cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise


def test_a_result_and_an_error_are_passed_on() -> None:
    async def divide(number: int) -> int:
        await asyncio.sleep(0)
        return 12 // number

    assert run_in_thread(divide(4)) == 3
    with pytest.raises(ZeroDivisionError):
        run_in_thread(divide(0))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_an_exception_of_the_waiting_thread_cancels(kind: type[BaseException]) -> None:
    calls: Iterator[int] = iter(range(3))

    def watch() -> None:
        if next(calls) == 2:
            raise kind

    work = Work()
    with pytest.raises(kind):
        run_in_thread(work.run(), watch)
    assert work.is_cancelled


def test_an_interrupt_while_the_thread_starts_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises it between any two instructions, also before the future is known."""
    submit = ThreadPoolExecutor.submit

    def interrupted(pool: ThreadPoolExecutor, *arguments: Any) -> Future[Any]:
        submit(pool, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    work = Work()
    with pytest.raises(KeyboardInterrupt):
        run_in_thread(work.run())
    assert work.is_cancelled
