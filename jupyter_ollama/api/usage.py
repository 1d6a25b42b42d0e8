"""GET /usage and /api/requests: the usage, limits and requests of the caller."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from ..scheduler.request import ModelRequest, State
from .endpoint import Call, Reply

if TYPE_CHECKING:
    from ..usage.store import UsageStore

PERIODS = {"day": 86400.0, "month": 30 * 86400.0}
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
    body: dict[str, Any] = {
        "user": requester.name,
        "groups": list(requester.groups),
        "rights": {name: await call.may(*needed) for name, needed in RIGHTS.items()},
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
    return fields | ({"position": request.position} if request.position else {})
