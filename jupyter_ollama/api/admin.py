"""/admin: usage of all users, their requests, and what to do about them."""

from __future__ import annotations

import asyncio
import csv
import io

import msgspec

from ..errors import OllamaError
from .endpoint import Call, Reply
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
    """Keep spreadsheets from taking a name for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


async def requests(call: Call) -> Reply:
    """Answer GET /admin/requests: what all users have under way, and who is blocked."""
    admission = call.server.admission
    found = [
        {"user": ticket.account.name, "groups": list(ticket.groups)} | described(ticket)
        for ticket in admission.tickets
    ]
    blocked = sorted(admission.blocked)
    return Reply({"draining": admission.draining, "blocked": blocked, "requests": found})


async def cancel(call: Call) -> Reply:
    """Answer DELETE /admin/requests/{id}: end a request of any user."""
    (request_id,) = call.arguments
    if not call.server.admission.cancel(request_id):
        raise OllamaError(404, f"request '{request_id}' not found")
    return Reply()


async def drain(call: Call) -> Reply:
    """Answer PUT /admin/drain: what runs or waits goes on, new requests get 503."""
    call.server.admission.drain(True)
    return Reply()


async def resume(call: Call) -> Reply:
    """Answer PUT /admin/resume: take new requests again."""
    call.server.admission.drain(False)
    return Reply()


async def block(call: Call) -> Reply:
    """Answer POST /admin/block: refuse a user from now on, and end what he has under way."""
    admission = call.server.admission
    user = _user(call)
    admission.block(user, True)
    for ticket in admission.tickets:
        if ticket.account.name == user:
            ticket.cancel()
    return Reply()


async def unblock(call: Call) -> Reply:
    """Answer POST /admin/unblock: let a user in again."""
    call.server.admission.block(_user(call), False)
    return Reply()


def _user(call: Call) -> str:
    user = call.decode(BlockRequest).user
    if not user:
        raise OllamaError(400, "user is required")
    return user
