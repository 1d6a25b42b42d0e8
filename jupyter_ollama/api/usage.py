"""GET /usage and /api/requests: what a user has used, may use, and has under way."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from .endpoint import Call, Reply

if TYPE_CHECKING:
    from ..scheduler.ticket import Ticket
    from ..usage.store import UsageStore

PERIODS = {"day": 86400.0, "month": 30 * 86400.0}
"""What usage is summed up over, in seconds until now."""


async def usage(call: Call) -> Reply:
    """Answer GET /usage: the caller's tokens, limits and, where it is recorded, models."""
    admission = call.server.admission
    requester = call.requester
    account = admission.account(requester.name)
    limits = msgspec.to_builtins(admission.limits(requester.name, requester.groups))
    body: dict[str, Any] = {
        "user": requester.name,
        "groups": list(requester.groups),
        "limits": {name: value for name, value in limits.items() if value is not None},
        "tokens_last_minute": account.minute.total,
        "tokens_last_day": account.day.total,
        "running": account.running,
        "waiting": account.waiting,
        "recorded": admission.store is not None,
    }
    return Reply(body | await sums(admission.store, ("model",), requester.name))


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
    """Answer GET /api/requests: the caller's requests under way; those waiting have a place."""
    name = call.requester.name
    mine = [one for one in call.server.admission.tickets if one.account.name == name]
    return Reply({"requests": [described(ticket) for ticket in mine]})


def described(ticket: Ticket) -> dict[str, Any]:
    """Return what is told of a request under way."""
    position = max((queue.place(ticket) for queue in ticket.account.queues), default=0)
    state = "queued" if position else "running" if ticket.share else "loading"
    told: dict[str, Any] = {
        "id": ticket.request_id,
        "path": ticket.path,
        "model": ticket.model,
        "state": state,
        "bulk": bool(ticket.bulk),
        "seconds": round(time.perf_counter() - ticket.opened, 3),
    }
    return told | ({"position": position} if position else {})
