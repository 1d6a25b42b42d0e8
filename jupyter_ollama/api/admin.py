"""/admin and /health: usage and requests of all users, their administration and monitoring."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Any

import msgspec

from ..errors import OllamaError
from .endpoint import Call, Reply
from .models import allowed_loaded
from .usage import described, sums

CSV = "text/csv; charset=utf-8"
COLUMNS = (
    "day",
    "user",
    "groups",
    "model",
    "path",
    "requests",
    "prompt_tokens",
    "cached_tokens",
    "generated_tokens",
)


class BlockRequest(msgspec.Struct, kw_only=True):
    """The body of POST /admin/block and /admin/unblock."""

    user: str = ""


async def usage(call: Call) -> Reply:
    """Answer GET /admin/usage: sums by user, group and model."""
    store = call.server.admission.store
    found = await sums(store, ("user", "group", "model"))
    return Reply({"recorded": store is not None} | found)


async def usage_csv(call: Call) -> Reply:
    """Answer GET /admin/usage.csv: a row for each day, user, model and path."""
    store = call.server.admission.store
    rows = await asyncio.to_thread(store.days, 0.0) if store else []
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_inert(value) for value in row] for row in rows)
    return Reply(text.getvalue().encode(), content_type=CSV)


def _inert(value: object) -> object:
    """Keep spreadsheets from evaluating a name as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


async def requests(call: Call) -> Reply:
    """Answer GET /admin/requests: the requests of all users, and the blocked users."""
    admission = call.server.admission
    await admission.restored()
    found = [
        {"user": request.user, "groups": list(request.groups)} | described(request)
        for request in admission.requests
        if not request.closed
    ]
    blocked = sorted(admission.blocked)
    return Reply({"draining": admission.draining, "blocked": blocked, "requests": found})


async def cancel(call: Call) -> Reply:
    """Answer DELETE /admin/requests/{id}: cancel the requests of that id, of any user."""
    (request_id,) = call.arguments
    if not call.server.running_requests.cancel(request_id):
        raise OllamaError(404, f"request '{request_id}' not found")
    return Reply()


async def drain(call: Call) -> Reply:
    """Answer PUT /admin/drain: running and waiting requests go on, new ones get 503."""
    call.server.admission.drain(True)
    return Reply()


async def resume(call: Call) -> Reply:
    """Answer PUT /admin/resume: admit new requests again."""
    call.server.admission.drain(False)
    return Reply()


async def block(call: Call) -> Reply:
    """Answer POST /admin/block: refuse all requests of a user and cancel the running ones."""
    call.server.admission.block(_user(call), True)
    return Reply()


async def unblock(call: Call) -> Reply:
    """Answer POST /admin/unblock: admit requests of a user again."""
    call.server.admission.block(_user(call), False)
    return Reply()


async def health(call: Call) -> Reply:
    """Answer GET and HEAD /health: 200 while the server takes requests, 503 while it is drained.

    ``lost`` slots are held although their requests have ended. They are released; ``recovered``
    counts those released since the start of the server.
    """
    server = call.server
    draining = server.admission.draining
    watchdog = server.scheduler.watchdog
    watchdog.check()
    accounts = server.admission.accounts.values()
    body: dict[str, Any] = {
        "status": "draining" if draining else "ok",
        "running": sum(account.running for account in accounts),
        "waiting": sum(account.waiting for account in accounts),
        "slots": {
            "held": watchdog.held,
            "lost": watchdog.lost,
            "recovered": watchdog.recovered,
        },
        "models": [loaded.model.name.display for loaded in allowed_loaded(call)],
    }
    if upstreams := server.upstream_pool:
        body["upstreams"] = [
            {"name": one.spec.name, "state": one.state, "running": one.running}
            for one in upstreams.members
        ]
    if budgets := server.admission.ledger.state:
        body["budgets"] = budgets
    return Reply(body, status=503 if draining else 200)


def _user(call: Call) -> str:
    user = call.decode(BlockRequest).user
    if not user:
        raise OllamaError(400, "user is required")
    return user
