"""Admission control: limits, budgets and blocked users, checked before a request runs a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ..engine.meter import current_account, current_meter
from ..engine.protocol import OWN_PREFIXES, PrefixSharing
from ..errors import OllamaError
from .account import OWNER_NAME, Account
from .events import Events
from .limits import LimitReached, Limits, Table, limits_of, names_limit
from .request import ModelRequest, current_request
from .running_requests import RunningRequests

if TYPE_CHECKING:
    from ..usage.store import LastDay, UsageStore

DRAINED = "the server takes no new requests for now, please try again later"
DRAIN_SECONDS = 30.0
"""The Retry-After of a drained server, which does not know when it resumes."""


class Rules(Protocol):
    """The settings that admission reads: see `Sharing`."""

    @property
    def limits(self) -> Table:
        """The limits of all users, of groups and of single users."""

    @property
    def prefix_sharing(self) -> str:
        """How far accounts share the computed prefixes of prompts: "system", "account", "all"."""

    @property
    def prefix_accounts(self) -> int:
        """The number of other accounts that must have sent a system prompt before it is shared."""

    @property
    def shared(self) -> bool | None:
        """Whether one user's requests leave other users' models alone, None for automatic."""

    @property
    def concurrent_part(self) -> float:
        """The fraction of a model's slots that one user may hold, unless limits say otherwise."""


class Admission:
    """Admits or refuses each request that runs a model."""

    def __init__(
        self, rules: Rules, events: Events, running: RunningRequests, store: UsageStore | None
    ) -> None:
        """Begin to read the usage of the last day from the store; see `restored`."""
        self.events = events
        self.store = store
        self.draining = False
        self.accounts: dict[str, Account] = {}
        self._running = running
        self._rules = rules
        self._blocked: set[str] = set()
        self._last_day: LastDay | None = None
        self._restoring: asyncio.Future[None] | None = None
        if store:
            store.start()

    async def restored(self) -> None:
        """Wait for the budgets and blocked users of an earlier server, which the store reads.

        Where the file is locked, the first requests are admitted without them.
        """
        if self.store:
            if self._restoring is None:
                reading = asyncio.to_thread(self.store.wait_for_last_day)
                self._restoring = asyncio.ensure_future(reading)
            await asyncio.shield(self._restoring)

    @property
    def blocked(self) -> set[str]:
        """The names of the blocked users."""
        self._take_over_last_day()
        return self._blocked

    def _take_over_last_day(self) -> None:
        if self.store and self._last_day is None and self.store.last_day is not None:
            self._last_day = self.store.last_day
            self._blocked |= self._last_day.blocked
            for account in self.accounts.values():
                self._restore_budgets(account)

    @property
    def is_shared(self) -> bool:
        """True if the server has several users."""
        shared = self._rules.shared
        return len(self.accounts) > 1 if shared is None else shared

    @property
    def requests(self) -> list[ModelRequest]:
        """The requests that run a model, the oldest first, until their cost is known."""
        return self._running.of_models

    def account(self, name: str) -> Account:
        """Return the account of a user, including the cost of the last day."""
        self._take_over_last_day()
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(name, len(self.accounts) + 1)
            self._restore_budgets(account)
        return account

    def _restore_budgets(self, account: Account) -> None:
        if self._last_day is None:
            return
        spent = self._last_day.spent.pop(account.name, [])
        for window in (account.minute, account.day) if spent else ():
            since = time.time() - window.seconds
            window.prepend([part for part in spent if part[0] > since])

    def limits(self, name: str, groups: tuple[str, ...]) -> Limits:
        """Return the limits of a user."""
        return limits_of(self._rules.limits, name, groups)

    def _sharing(self, account: Account) -> PrefixSharing:
        """Return whose computed prefixes the requests of an account may use.

        A server with one user does not count the system prompts that users have in common.
        """
        if account.name == OWNER_NAME or self._rules.prefix_sharing == "all":
            return OWN_PREFIXES
        is_common = self._rules.prefix_sharing == "system" and self.is_shared
        return PrefixSharing(account.number, self._rules.prefix_accounts if is_common else 0)

    @contextmanager
    def admit(
        self,
        name: str,
        groups: tuple[str, ...],
        request_id: str,
        path: str,
        priority: str | None,
        on_cancel: Callable[[], None],
    ) -> Iterator[ModelRequest]:
        """Register a request and make it the current one in the block; `close` it afterwards.

        ``priority`` is "bulk", "interactive", or None if the client names none. Raises
        OllamaError: 403 for blocked users, 429 for a spent budget, 503 while the server is drained.
        """
        account = self.account(name)
        limits = self.limits(name, groups)
        alone = len(self.accounts) == 1
        request = ModelRequest(
            account,
            limits,
            {"bulk": True, "interactive": False}.get(priority or "", False if alone else None),
            self._sharing(account),
            groups=groups,
            path=path,
            request_id=request_id,
            on_cancel=on_cancel,
            on_end=self._end,
        )
        self._check(request)
        if self.is_shared and not names_limit(self._rules.limits, "concurrent", name, groups):
            request.slot_fraction = self._rules.concurrent_part
        self._running.add(request)
        tokens = current_request.set(request), current_meter.set(request)
        number = current_account.set(account.number)
        try:
            yield request
        finally:
            current_request.reset(tokens[0])
            current_meter.reset(tokens[1])
            current_account.reset(number)

    def block(self, name: str, blocked: bool) -> None:
        """Block a user and cancel their running requests, or unblock the user."""
        (self.blocked.add if blocked else self.blocked.discard)(name)
        if self.store:
            self.store.block(name, blocked)
        self.events.emit("block" if blocked else "unblock", user=name)
        if blocked:
            self._running.cancel(user=name)

    def drain(self, draining: bool) -> None:
        """Refuse new requests while the running ones end, or admit them again."""
        self.draining = draining
        self.events.emit("drain" if draining else "resume")

    def _check(self, request: ModelRequest) -> None:
        try:
            if self.draining:
                raise LimitReached(DRAINED, DRAIN_SECONDS, 503)
            if request.user in self.blocked:
                raise OllamaError(403, "you may not use models here until an administrator says so")
            request.check_budgets()
        except OllamaError as error:
            self.events.emit("refuse", user=request.user, status=error.status, reason=error.message)
            raise

    def _end(self, request: ModelRequest) -> None:
        self._running.remove(request)
        if request.model:
            request.account.add_duration(request.closed - request.opened)
            self.events.emit("finish", request=request)
            if self.store:
                self.store.add(request)
