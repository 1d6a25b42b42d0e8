"""Admission control: limits, budgets and blocked users, checked before a request runs a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from ..budgets.budget import GROUP, USER, Budget, Key
from ..budgets.ledger import Ledger
from ..budgets.request_budgets import RequestBudgets
from ..engine.meter import current_account, current_meter
from ..engine.protocol import PrefixSharing
from ..errors import OllamaError
from .account import OWNER_NAME, Account
from .events import Events
from .limits import LimitReached, Limits, Table, limits_of, names_limit, shared_budgets
from .overrides import Override, Overrides
from .request import ModelRequest, current_request
from .running_requests import RunningRequests

if TYPE_CHECKING:
    from ..usage.records import Past
    from ..usage.store import UsageStore

DRAINED = "the server takes no new requests for now, please try again later"
DRAIN_SECONDS = 30.0
"""The Retry-After of a drained server, which does not know when it resumes."""


class Rules(Protocol):
    """The settings that admission reads: see `Sharing`."""

    @property
    def limits(self) -> Table:
        """The limits of all users, of groups and of single users."""

    @property
    def shared_budgets(self) -> Table:
        """The budgets that the members of a group share, and all users."""

    @property
    def budget_timeout(self) -> float:
        """Seconds that a request waits at most for the record of its cost."""

    @property
    def prefix_sharing(self) -> str:
        """How far accounts share computed prefixes: "system", "account", "group" or "all"."""

    @property
    def prefix_accounts(self) -> int:
        """The number of other accounts that must have sent a system prompt before it is shared."""

    @property
    def prefix_disk_bytes(self) -> int:
        """The most bytes of system prompts that are kept on the disk; 0 keeps none."""

    @property
    def shared(self) -> bool | None:
        """Whether one user's requests leave other users' models alone, None for automatic."""

    @property
    def concurrent_part(self) -> float:
        """The fraction of a model's slots that one user may hold, unless limits say otherwise."""


class Admission:
    """Admits or refuses each request that runs a model."""

    def __init__(
        self,
        rules: Rules,
        events: Events,
        running: RunningRequests,
        store: UsageStore | None,
        ledger: Ledger,
    ) -> None:
        """Begin to read the recorded usage from the store; see `restored`."""
        self.events = events
        self.store = store
        self.ledger = ledger
        self.overrides = Overrides()
        self.draining = False
        self.accounts: dict[str, Account] = {}
        self._running = running
        self._rules = rules
        self._blocked: set[str] = set()
        self._group_numbers: dict[frozenset[str], int] = {}
        self._past: Past | None = None
        self._restoring: asyncio.Future[None] | None = None
        ledger.on_overrides(self.overrides.read)
        if store:
            store.start()

    async def restored(self) -> None:
        """Wait for the budgets and blocked users of an earlier server, which the store reads.

        Where the file is locked, the first requests are admitted without them.
        """
        if self.store:
            if self._restoring is None:
                reading = asyncio.to_thread(self.store.wait_for_past)
                self._restoring = asyncio.ensure_future(reading)
            await asyncio.shield(self._restoring)
        self._take_over_past()

    @property
    def blocked(self) -> set[str]:
        """The names of the blocked users."""
        self._take_over_past()
        return self._blocked

    def _take_over_past(self) -> None:
        if self.store and self._past is None and self.store.past is not None:
            self._past = self.store.past
            self._blocked |= self._past.blocked
            self.ledger.restore(self._past.spent)
            if not self.ledger.keeps_overrides:
                self.overrides.read(self._past.overrides)

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
        """Return the account of a user."""
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(name, len(self.accounts) + 1)
        return account

    def limits(self, name: str, groups: tuple[str, ...]) -> Limits:
        """Return the limits of a user."""
        return limits_of(self._limits, name, groups)

    def budgets(self, name: str, groups: tuple[str, ...]) -> list[Budget]:
        """Return the budgets of a user: their own, those of their groups and those of all."""
        own = self.limits(name, groups).budgets(USER + name)
        shared = self.overrides.applied("shared_budgets", self._rules.shared_budgets)
        return own + (shared_budgets(shared, groups) if shared else [])

    def budgets_of_group(self, holder: str) -> list[Budget]:
        """Return the budgets that the members of "group:NAME", or all users ("*"), share."""
        shared = self.overrides.applied("shared_budgets", self._rules.shared_budgets)
        found = shared_budgets(shared, [holder.removeprefix(GROUP)]) if shared else []
        return [budget for budget in found if budget.key.holder == holder]

    @property
    def _limits(self) -> Table:
        return self.overrides.applied("limits", self._rules.limits)

    def known_users(self) -> dict[str, tuple[str, ...]]:
        """Return the groups of each user who has sent a request, as of the last one."""
        return {name: account.groups for name, account in self.accounts.items()}

    def spent(self, name: str, period: str) -> int:
        """Return the tokens that a user has spent in a period."""
        return self.ledger.counter(Key(USER + name, "", period)).total

    def spend(self, name: str, groups: tuple[str, ...], model: str, tokens: int) -> None:
        """Count tokens of a request that ended before the start and was not counted."""
        budgets = RequestBudgets(self.ledger, name, groups, self.budgets(name, groups))
        budgets.choose(model)
        budgets.spend(tokens)

    def _sharing(self, account: Account, groups: tuple[str, ...]) -> PrefixSharing:
        """Return whose computed prefixes the requests of an account may use.

        A server with one user does not count the system prompts that users have in common. The
        members of several groups share with those who are in all of these: what one has sent in a
        group is then read by members of that group alone.
        """
        extent = self._rules.prefix_sharing
        if account.name == OWNER_NAME or extent == "all":
            return PrefixSharing(scope=self._scope("all" if extent == "all" else "owner"))
        if extent == "group" and groups:
            known = self._group_numbers
            number = known.setdefault(frozenset(groups), -len(known) - 1)
            return PrefixSharing(number, scope=self._scope("group", *sorted(groups)))
        if extent != "system":
            return PrefixSharing(account.number)
        if not self.is_shared:
            return PrefixSharing(account.number, scope=self._scope("user", account.name))
        after = self._rules.prefix_accounts
        return PrefixSharing(account.number, after, self._scope("system", str(after)))

    def _scope(self, *names: str) -> str:
        """Return the name of those who share system prompts on the disk; "" if none is kept.

        It is the same after a restart, and another one under another policy: what was kept under
        one is not read under the next.
        """
        if not self._rules.prefix_disk_bytes:
            return ""
        return blake2b(json.dumps(names).encode(), digest_size=16).hexdigest()

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
        account.groups = groups
        limits = self.limits(name, groups)
        alone = len(self.accounts) == 1
        request = ModelRequest(
            account,
            limits,
            RequestBudgets(self.ledger, name, groups, self.budgets(name, groups)),
            self.commit,
            {"bulk": True, "interactive": False}.get(priority or "", False if alone else None),
            self._sharing(account, groups),
            groups=groups,
            path=path,
            request_id=request_id,
            on_cancel=on_cancel,
            on_end=self._end,
        )
        self._check(request)
        if self.is_shared and not names_limit(self._limits, "concurrent", name, groups):
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

    async def commit(self, request: ModelRequest) -> None:
        """Record the cost of a request here and on other hosts; give up after a short time."""
        waits: list[asyncio.Future[None]] = [asyncio.ensure_future(self.ledger.flushed())]
        if self.store:
            loop = asyncio.get_running_loop()
            written: asyncio.Future[None] = loop.create_future()
            self.store.add(request, lambda: _resolve(loop, written))
            waits.append(written)
        await asyncio.wait(waits, timeout=self._rules.budget_timeout)

    async def override(self, override: Override) -> None:
        """Set limits until a time, on all hosts. Raises StoreLost."""
        await self.ledger.set_override(override.field, override.value)
        if self.store:
            self.store.override(override.field, override.value)
        self.overrides.set(override)
        self.events.emit("limit", user=override.holder)

    async def remove_override(self, field: str) -> bool:
        """End limits that were set until a time; return False if there are none."""
        await self.ledger.set_override(field, "")
        if self.store:
            self.store.override(field, "")
        return self.overrides.remove(field)

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
            if self.store and request.is_recorded:
                self.store.add(request)


def _resolve(loop: asyncio.AbstractEventLoop, written: asyncio.Future[None]) -> None:
    """Resolve a future of a loop from another thread; the loop may have ended."""

    def resolve() -> None:
        if not written.done():
            written.set_result(None)

    with suppress(RuntimeError):
        loop.call_soon_threadsafe(resolve)
