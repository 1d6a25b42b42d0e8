"""What a request costs in tokens, told to whoever keeps account of it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from .protocol import Done, Event, Text


class Meter(Protocol):
    """Keeps account of a request. What runs for it is told by ``begin``, its end by ``settle``."""

    def begin(self) -> None:
        """Expect one more `settle`, which may come after the request is over."""

    def first_text(self) -> None:
        """Take note that text has come."""

    def settle(self, prompt: int, cached: int, generated: int, duration: int) -> None:
        """Take tokens: of the prompt, ``cached`` ones among them, and those generated.

        They were generated in ``duration`` nanoseconds.
        """


current_meter: ContextVar[Meter | None] = ContextVar("current_meter", default=None)
"""The meter of the request that is served by this task, None if nobody keeps account."""


class Bill:
    """The cost of one command; its meter learns of it once, when it is known."""

    def __init__(self) -> None:
        self._meter = current_meter.get()
        self._text_came = False
        if self._meter:
            self._meter.begin()

    @property
    def is_open(self) -> bool:
        """True while somebody waits to learn of the cost."""
        return self._meter is not None

    def take(self, event: Event) -> None:
        """Look for the cost in what a runner tells of a generation."""
        if isinstance(event, Text) and self._meter and not self._text_came:
            self._text_came = True
            self._meter.first_text()
        elif isinstance(event, Done):
            self.settle(
                event.prompt_eval_count, event.cached, event.eval_count, event.eval_duration
            )

    def settle(
        self, prompt: int = 0, cached: int = 0, generated: int = 0, duration: int = 0
    ) -> None:
        """Tell the cost, unless it was told before."""
        meter, self._meter = self._meter, None
        if meter:
            meter.settle(prompt, cached, generated, duration)
