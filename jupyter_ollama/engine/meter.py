"""The cost of a request in tokens, and the meter that records it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from .events import Done, Event, Text


class Meter(Protocol):
    """Records the cost of a request: each command calls ``begin`` once and ``settle`` once."""

    def begin(self) -> None:
        """Expect one more `settle`, perhaps after the end of the request."""

    def first_text(self) -> None:
        """Record the first text."""

    def settle(self, prompt: int, cached: int, generated: int, duration: int) -> None:
        """Record tokens of the prompt, including ``cached`` ones, and generated tokens.

        Generation took ``duration`` nanoseconds.
        """


current_meter: ContextVar[Meter | None] = ContextVar("current_meter", default=None)
"""The meter of the request that this task serves, None if its cost is not recorded."""


current_account: ContextVar[int] = ContextVar("current_account", default=0)
"""The number of the user whose request this task serves, 0 for the server's own work."""


class CostReport:
    """The cost of one command, which its meter receives once."""

    def __init__(self) -> None:
        self._meter = current_meter.get()
        self._has_text = False
        if self._meter:
            self._meter.begin()

    @property
    def is_open(self) -> bool:
        """True until the meter has received the cost."""
        return self._meter is not None

    def take(self, event: Event) -> None:
        """Read the cost from an event of a generation."""
        if isinstance(event, Text) and self._meter and not self._has_text:
            self._has_text = True
            self._meter.first_text()
        elif isinstance(event, Done):
            self.settle(
                event.prompt_eval_count, event.cached, event.eval_count, event.eval_duration
            )

    def settle(
        self, prompt: int = 0, cached: int = 0, generated: int = 0, duration: int = 0
    ) -> None:
        """Send the cost to the meter, once."""
        meter, self._meter = self._meter, None
        if meter:
            meter.settle(prompt, cached, generated, duration)


TOKENIZED_PER_TOKEN = 100
"""Tokens of a text to tokenize that cost as much as one token that a model reads."""


def charge_text(tokens: int) -> None:
    """Charge the current request for tokenizing, detokenizing or rendering a text."""
    CostReport().settle(prompt=-(-tokens // TOKENIZED_PER_TOKEN) or 1)
