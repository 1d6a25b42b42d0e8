"""GET /usage and /api/requests: the usage, limits and requests of the caller."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ..budgets.budget import USER, Budget, Key
from ..budgets.ledger import holders
from ..budgets.periods import PERIODS as PERIODS_OF_BUDGETS
from ..scheduler.request import ModelRequest, State
from .endpoint import Call, Reply

if TYPE_CHECKING:
    from ..config import OllamaServer
    from ..scheduler.admission import Admission
    from ..usage.store import UsageStore

PERIODS = {"day": 86400.0, "week": 7 * 86400.0, "month": 30 * 86400.0}
"""The periods that usage is summed up over, in seconds until now."""

RIGHTS = {
    "run": ("execute", "ollama:run"),
    "manage": ("write", "ollama:models"),
    "admin": ("write", "ollama:admin"),
}
"""The rights of a user, as action and resource."""


async def usage(call: Call) -> Reply:
    """Answer GET /usage: the caller's rights, tokens, limits and, where recorded, models."""
    admission = call.server.admission
    await admission.restored()
    requester = call.requester
    account = admission.account(requester.name)
    limits = msgspec.to_builtins(admission.limits(requester.name, requester.groups))
    budgets = admission.budgets(requester.name, requester.groups)
    await admission.ledger.look([budget.key for budget in budgets] + mine(requester.name))
    body: dict[str, Any] = {
        "user": requester.name,
        "groups": list(requester.groups),
        "rights": {name: await call.may(*needed) for name, needed in RIGHTS.items()},
        "limits": {name: value for name, value in limits.items() if value is not None},
        "budgets": [used(admission, budget) for budget in budgets],
        "overrides": overrides(admission, holders(requester.name, requester.groups)),
        "tokens_last_minute": admission.spent(requester.name, "minute"),
        "tokens_last_day": admission.spent(requester.name, "day"),
        "running": account.running,
        "waiting": account.waiting,
        "recorded": admission.store is not None,
        "audited": audited(call.server),
    }
    return Reply(body | await sums(admission.store, ("model",), requester.name))


def audited(server: OllamaServer) -> str:
    """Return what the audit log contains: "no", "requests" without texts, or "text"."""
    if server.audit is None:
        return "no"
    return "text" if server.audits_text else "requests"


def mine(user: str) -> list[Key]:
    """Return the keys of all tokens of a user."""
    return [Key(USER + user, "", period) for period in PERIODS_OF_BUDGETS]


def used(admission: Admission, budget: Budget) -> dict[str, Any]:
    """Return a budget with what is used of it, and when that ends or, if it is spent, changes."""
    ledger = admission.ledger
    counter = ledger.counter(budget.key)
    fields = budget.described(counter.total)
    span = None if budget.period.slides else ledger.calendar.span(budget.period)
    if span:
        return fields | {"ends_at": at(span.end)}
    if wait := counter.wait(budget.limit):
        return fields | {"ends_at": at(time.time() + wait)}
    return fields


def overrides(admission: Admission, of: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """Return the limits that hold until a date, of some holders or of all."""
    return [
        {
            "of": one.holder,
            "shared": one.place == "shared_budgets",
            "limits": one.limits,
            "until": at(one.until),
        }
        for one in admission.overrides.current()
        if of is None or one.holder in of
    ]


def at(seconds: float) -> str:
    """Return a time of time.time() as text."""
    return datetime.fromtimestamp(round(seconds)).astimezone().isoformat()


async def sums(
    store: UsageStore | None, kinds: tuple[str, ...], user: str | None = None
) -> dict[str, Any]:
    """Return the sums of each kind over each period, nothing where usage is not recorded."""
    if store is None:
        return {}
    now = time.time()

    def read() -> dict[str, Any]:
        return {
            period: {f"{kind}s": store.sums(kind, now - seconds, user) for kind in kinds}
            for period, seconds in PERIODS.items()
        }

    return await asyncio.to_thread(read)


async def requests(call: Call) -> Reply:
    """Answer GET /api/requests: the caller's requests under way; queued ones have a position."""
    name = call.requester.name
    open_ones = [one for one in call.server.admission.requests if not one.closed]
    return Reply({"requests": [described(one) for one in open_ones if one.user == name]})


def described(request: ModelRequest) -> dict[str, Any]:
    """Return the description of a request for its user and for administrators."""
    state = request.state
    fields: dict[str, Any] = {
        "id": request.request_id,
        "path": request.path,
        "model": request.model,
        "state": State.LOADING if state is State.PREPARING else state,
        "bulk": bool(request.bulk),
        "seconds": round(time.perf_counter() - request.opened, 3),
    }
    fields |= {"upstream": request.upstream} if request.upstream else {}
    return fields | ({"position": request.position} if request.position else {})
