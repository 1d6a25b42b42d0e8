"""Who asks for what: users with their running totals, and their requests under way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .limits import NO_LIMITS, Limits
from .window import Window

if TYPE_CHECKING:
    from .fair_queue import FairQueue, Share

MINUTE, DAY = 60.0, 86400.0


@dataclass(eq=False)
class Account:
    """One user: what he has running and waiting, and what he has spent lately in tokens."""

    name: str
    running: int = 0
    waiting: int = 0
    usual_seconds: float = 1.0
    minute: Window = field(default_factory=lambda: Window(MINUTE))
    day: Window = field(default_factory=lambda: Window(DAY))
    queues: set[FairQueue] = field(default_factory=set)
    tickets: set[Ticket] = field(default_factory=set)

    def spend(self, tokens: int) -> None:
        """Count tokens against the budgets."""
        self.minute.add(tokens)
        self.day.add(tokens)


@dataclass(eq=False)
class Ticket:
    """A request on its way: whose it is, how urgent, and what it has cost.

    ``bulk`` is what its client has said, None for nothing; ``streams`` whether the answer goes out
    while it is made. Times are those of time.perf_counter(). ``on_end`` is called once, when the
    request is over and all that it cost is known.
    """

    account: Account
    limits: Limits = NO_LIMITS
    bulk: bool | None = None
    request_id: str = ""
    path: str = ""
    groups: tuple[str, ...] = ()
    cancel: Callable[[], None] = lambda: None
    on_end: Callable[[Ticket], None] = lambda _: None

    streams: bool = False
    model: str = ""
    digest: str = ""
    status: int = 0
    opened: float = field(default_factory=time.perf_counter)
    closed: float = 0.0
    waited: float = 0.0
    first_text_at: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    generating: float = 0.0
    share: Share | None = None
    _unsettled: int = 0

    @property
    def computed(self) -> int:
        """Tokens that a device had to compute."""
        return self.prompt_tokens - self.cached_tokens + self.generated_tokens

    @property
    def is_bulk(self) -> bool:
        """True if the other requests of its user go first.

        Where clients do not say: a whole answer that is wanted while others of the user wait.
        """
        if self.bulk is not None:
            return self.bulk
        return not self.streams and self.account.waiting > 0

    @property
    def is_held(self) -> bool:
        """True if its user has as many requests running as he may."""
        most = self.limits.concurrent
        return most is not None and self.account.running >= most

    def begin(self) -> None:
        """Expect one more cost."""
        self._unsettled += 1

    def first_text(self) -> None:
        """Note when the answer began."""
        self.first_text_at = self.first_text_at or time.perf_counter()

    def settle(self, prompt: int, cached: int, generated: int, duration: int) -> None:
        """Take a cost, perhaps of what was cancelled a moment ago."""
        self._unsettled -= 1
        self.prompt_tokens += prompt
        self.cached_tokens += cached
        self.generated_tokens += generated
        self.generating += duration / 1e9
        self.account.spend(prompt + generated)
        if self.share:
            self.share.spent += prompt - cached + generated
        self._end()

    def close(self, status: int) -> None:
        """End the request, which was answered with a status."""
        self.status = status
        self.closed = time.perf_counter()
        self._end()

    def _end(self) -> None:
        if self.closed and not self._unsettled:
            self.on_end(self)


current_ticket: ContextVar[Ticket | None] = ContextVar("current_ticket", default=None)
"""The request that this task serves, None for what the server does by itself."""
