"""Who may have a model work for them now, and what becomes of their requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ..engine.meter import current_meter
from ..errors import OllamaError
from .events import Events
from .limits import LimitReached, Limits, Table, limits_of
from .ticket import DAY, Account, Ticket, current_ticket

if TYPE_CHECKING:
    from ..usage.store import UsageStore

DRAINED = "the server takes no new requests for now, please try again later"
DRAIN_SECONDS = 30.0
"""When to try again while the server is drained; nobody knows how long that will be."""


class Rules(Protocol):
    """What is asked of the configuration: see `Sharing`."""

    @property
    def limits(self) -> Table:
        """The limits of everybody, of groups and of users."""


class Admission:
    """Opens a ticket for each request that runs a model, or refuses it."""

    def __init__(self, rules: Rules, events: Events, store: UsageStore | None) -> None:
        self.events = events
        self.store = store
        self.draining = False
        self.blocked = store.blocked() if store else set()
        self.accounts: dict[str, Account] = {}
        self._rules = rules

    @property
    def tickets(self) -> list[Ticket]:
        """The requests under way, the oldest first."""
        open_ones = (ticket for account in self.accounts.values() for ticket in account.tickets)
        return sorted(open_ones, key=lambda ticket: ticket.opened)

    def account(self, name: str) -> Account:
        """Return the account of a user, with what the last day has cost."""
        if name not in self.accounts:
            account = self.accounts[name] = Account(name)
            if self.store:
                for at, tokens in self.store.spent(name, time.time() - DAY):
                    account.day.add(tokens, at)
                    if at > time.time() - account.minute.seconds:
                        account.minute.add(tokens, at)
        return self.accounts[name]

    def limits(self, name: str, groups: tuple[str, ...]) -> Limits:
        """Return the limits of a user."""
        return limits_of(self._rules.limits, name, groups)

    @contextmanager
    def ticket(
        self,
        name: str,
        groups: tuple[str, ...],
        request_id: str,
        path: str,
        priority: str | None,
        cancel: Callable[[], None],
    ) -> Iterator[Ticket]:
        """Serve a request in the block, after which its status is to be told by `Ticket.close`.

        ``priority`` is "bulk", "interactive", or None if the client does not say. Raises
        OllamaError: 403 for users who are blocked, 429 for a budget that is spent, 503 while the
        server is drained.
        """
        account = self.account(name)
        limits = self.limits(name, groups)
        self._check(account, limits)
        alone = len(self.accounts) == 1
        said = {"bulk": True, "interactive": False}.get(priority or "", False if alone else None)
        ticket = Ticket(account, limits, said, request_id, path, groups, cancel, self._end)
        account.tickets.add(ticket)
        tokens = current_ticket.set(ticket), current_meter.set(ticket)
        try:
            yield ticket
        finally:
            current_ticket.reset(tokens[0])
            current_meter.reset(tokens[1])

    def block(self, name: str, blocked: bool) -> None:
        """Refuse all that a user asks for from now on, or do so no longer."""
        (self.blocked.add if blocked else self.blocked.discard)(name)
        if self.store:
            self.store.block(name, blocked)
        self.events.tell("block" if blocked else "unblock", user=name)

    def drain(self, draining: bool) -> None:
        """Let what runs end and take nothing new, or take it again."""
        self.draining = draining
        self.events.tell("drain" if draining else "resume")

    def cancel(self, request_id: str) -> bool:
        """End requests of any user by their id; return whether there were any."""
        found = [ticket for ticket in self.tickets if ticket.request_id == request_id]
        for ticket in found:
            ticket.cancel()
            self.events.tell("cancel", user=ticket.account.name, model=ticket.model)
        return bool(found)

    def _check(self, account: Account, limits: Limits) -> None:
        try:
            if self.draining:
                raise LimitReached(DRAINED, DRAIN_SECONDS, 503)
            if account.name in self.blocked:
                raise OllamaError(403, "you may not use models here until an administrator says so")
            for window, limit, name in (
                (account.minute, limits.tokens_per_minute, "a minute"),
                (account.day, limits.tokens_per_day, "a day"),
            ):
                if limit and (wait := window.wait(limit)):
                    spent = f"you have used {window.total} tokens, the limit is {limit} {name}"
                    raise LimitReached(f"{spent}; try again in {_readable(wait)}", wait)
        except OllamaError as error:
            self.events.tell("refuse", user=account.name, status=error.status, reason=error.message)
            raise

    def _end(self, ticket: Ticket) -> None:
        account = ticket.account
        account.tickets.discard(ticket)
        if ticket.model:
            seconds = ticket.closed - ticket.opened
            account.usual_seconds += (seconds - account.usual_seconds) / 8
            self.events.tell("finish", ticket=ticket)
            if self.store:
                self.store.add(ticket)


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
