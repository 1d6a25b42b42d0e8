"""The settings of limits and budgets, of one server or of several hosts together."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from traitlets import Dict, Float, Int, List, TraitError, Unicode, default
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

from .environment import from_variable, variable
from .scheduler.limits import Budgets, check_limits, check_shared, limit_schemas

if TYPE_CHECKING:
    from .budgets.ledger import Ledger
    from .budgets.periods import Calendar


class BudgetSettings(LoggingConfigurable):
    """The settings of limits and budgets, and the ledger that is made from them."""

    limits = Dict(
        help="""Limit what users may do: {"*": {…}, "group:students": {…}, "user:alice": {…}}. A
        user's own limits precede those of groups, these precede those of all users ("*"); of
        several groups the most generous one counts, for each limit by itself. None lifts a limit.
        Each limit holds for a single user: """
        + " ".join(f'"{name}": {schema["description"]}' for name, schema in limit_schemas().items())
    ).tag(config=True)
    shared_budgets = Dict(
        help="""Limit the tokens that the members of a group, or all users, spend together:
        {"group:students": {"tokens_per_month": 50_000_000}, "*": {…}}. They hold besides the limits
        of each user, with these names: """
        + ", ".join(f'"{name}"' for name in limit_schemas(Budgets))
        + "."
    ).tag(config=True)
    terms: List[Any] = List(
        help="""The terms that tokens_per_term is for, each as its first and its last day:
        [("2026-10-01", "2027-03-31")]. Between two terms that limit does not hold."""
    ).tag(config=True)
    time_zone = Unicode(
        help="""Begin days of terms and months in this time zone, "Europe/Berlin". Default: the
        zone of the host."""
    ).tag(config=True)
    budget_store = from_variable(
        Unicode(
            help="""Count the tokens of budgets together with the other hosts that have this Redis
            or Valkey: "redis://:password@10.1.2.3:6379/0", rediss:// with TLS. It needs the package
            redis: pip install "jupyter-ollama[budgets]". While it is away, each host may spend its
            part of what is left of a budget."""
        ),
        "JUPYTER_OLLAMA_BUDGET_STORE",
        "",
        variable,
        shown="",
    )
    budget_host = Unicode(
        help="""The name of this server among those that share budgets. Two servers of one machine
        need different names. Default: the name of the machine."""
    ).tag(config=True)
    budget_hosts = Int(
        1,
        min=1,
        help="""The number of servers that share budgets, until the budget_store has been reached
        for the first time; later the store knows it.""",
    ).tag(config=True)
    budget_timeout = Float(
        0.5,
        min=0.01,
        help="""Wait for the budget_store, and for the record of a request's cost, for this many
        seconds at most: before a request starts, and before its answer ends. A store in the same
        network answers in a few milliseconds. One that takes longer is taken to be away, so that no
        request waits for it again until it is back.""",
    ).tag(config=True)

    @default("budget_host")
    def _machine(self) -> str:
        return socket.gethostname()

    @validates("limits")
    def _readable_limits(self, proposal: dict[str, Any]) -> dict[str, Any]:
        value: dict[str, Any] = proposal["value"]
        _check("limits", check_limits, value)
        return value

    @validates("shared_budgets")
    def _readable_budgets(self, proposal: dict[str, Any]) -> dict[str, Any]:
        value: dict[str, Any] = proposal["value"]
        _check("shared_budgets", check_shared, value)
        return value

    @validates("terms")
    def _readable_terms(self, proposal: dict[str, Any]) -> list[Any]:
        from .budgets.periods import read_terms

        value: list[Any] = proposal["value"]
        _check("terms", read_terms, value)
        return value

    @validates("time_zone")
    def _known_zone(self, proposal: dict[str, Any]) -> str:
        from zoneinfo import ZoneInfo

        name: str = proposal["value"]
        if name:
            _check("time_zone", ZoneInfo, name)
        return name

    @validates("budget_store")
    def _usable_store(self, proposal: dict[str, Any]) -> str:
        from .budgets.redis_store import checked_address

        address: str = proposal["value"]
        if address:
            _check("budget_store", checked_address, address)
        return address

    @validates("budget_host")
    def _plain_host(self, proposal: dict[str, Any]) -> str:
        name: str = proposal["value"]
        if not name or "|" in name:
            raise TraitError("budget_host must be a name without |")
        return name

    @property
    def calendar(self) -> Calendar:
        """The months and terms of budgets."""
        from .budgets.periods import Calendar, read_terms

        return Calendar(self.time_zone, read_terms(self.terms))

    def make_ledger(self) -> Ledger:
        """Return a new ledger of all budgets. Raises RuntimeError without the package redis."""
        if not self.budget_store:
            from .budgets.ledger import Ledger

            return Ledger(self.calendar)
        from .budgets.redis_store import RedisStore
        from .budgets.shared_ledger import SharedLedger

        store = RedisStore(self.budget_store, self.budget_timeout)
        return SharedLedger(store, self.budget_host, self.budget_hosts, self.calendar)


def _check(name: str, check: Callable[[Any], Any], value: Any) -> None:
    """Raise TraitError unless a function accepts the value of a setting."""
    try:
        check(value)
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise TraitError(f"{name}: {error}") from None
