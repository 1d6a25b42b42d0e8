"""The budget of one rendering: steps, characters and processor time.

Templates of models and requests are untrusted. Each loop, call, operator and filter of a template
is counted here, so that an endless template is stopped within its thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from .errors import TemplateError

MAX_TEXT = 64 * 1024 * 1024
"""The most characters of a prompt, or of any intermediate text."""

MAX_SOURCE = 64 * 1024
"""The most characters of a template. The longest known one has 28,000, which take a second to
compile."""

_CLOCK_EVERY = 64
"""Steps between two reads of the clock, which take longer than a step."""

_LONG_TEXT = 2**18
"""Characters of a text that takes longer to build than a read of the clock."""


class OverBudget(TemplateError):
    """A template that exceeded its steps, characters or time."""


class Spending(NamedTuple):
    """The limits of a rendering: processor time in seconds, steps, characters of all texts."""

    seconds: float
    steps: int
    characters: int


FULL = Spending(5.0, 2_000_000, 2**28)
"""Sufficient for a conversation of some ten thousand messages."""

BRIEF = Spending(0.1, 200_000, 2**25)
"""For rendering on a thread that serves other requests: a template that needs more is rendered
again on another one."""

COMPILING = Spending(5.0, 200_000, 2**20)
"""For constant folding while Jinja compiles a template; the rest is computed when rendering."""


class Budget:
    """Counts the cost of a rendering in its thread. Raises OverBudget."""

    def __init__(self, spending: Spending = FULL) -> None:
        self._spending = spending
        self._steps = 0
        self._next_look = _CLOCK_EVERY
        self._characters = 0
        self._end = time.thread_time() + spending.seconds

    def step(self, count: int = 1) -> None:
        """Count steps of the template: iterations, calls, operators."""
        self._steps += count
        if self._steps < self._next_look:
            return
        self._next_look = self._steps + _CLOCK_EVERY
        if self._steps > self._spending.steps:
            raise OverBudget(f"more than {self._spending.steps} turns of loops and calls")
        self.check_time()

    def text(self, size: int) -> None:
        """Count a text of ``size`` characters before it is built."""
        self.check_text(size)
        self._characters += size
        if self._characters > self._spending.characters:
            limit = self._spending.characters
            raise OverBudget(f"more than {limit} characters of text in all its steps")
        if size > _LONG_TEXT:
            self.check_time()

    def check_time(self) -> None:
        """Check the time, for work that takes long in a single step."""
        if time.thread_time() > self._end:
            raise OverBudget(f"it takes more than {self._spending.seconds:g} s")

    def check_text(self, size: int) -> None:
        """Check the length of one text."""
        if size > MAX_TEXT:
            raise OverBudget(f"more than {MAX_TEXT} characters of text")


_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


def current() -> Budget:
    """Return the budget of the current rendering, a new one outside of any."""
    return _current.get() or Budget()


@contextmanager
def spending(allowed: Spending) -> Iterator[Budget]:
    """Count the rendering in the block against one budget, shared with enclosing blocks."""
    around = _current.get()
    if around is not None:
        yield around
        return
    budget = Budget(allowed)
    token = _current.set(budget)
    try:
        yield budget
    finally:
        _current.reset(token)


def check_source(source: str) -> None:
    """Raise TemplateError for a template that is too long to be compiled."""
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"the template is longer than the limit of {MAX_SOURCE} characters")
