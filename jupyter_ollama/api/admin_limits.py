"""/admin/limits: limits and budgets of all, and those that an administrator sets until a date."""

from __future__ import annotations

import time
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ..budgets.redis_store import StoreLost
from ..errors import OllamaError
from ..scheduler.overrides import Override, Place
from .endpoint import Call, Reply
from .usage import overrides, used

if TYPE_CHECKING:
    from ..budgets.budget import Budget


class LimitRequest(msgspec.Struct, kw_only=True):
    """The body of PUT and DELETE /admin/limits."""

    of: str = ""
    shared: bool = False
    limits: dict[str, Any] = {}
    until: str = ""

    @property
    def place(self) -> Place:
        """The setting that the limits change."""
        return "shared_budgets" if self.shared else "limits"


async def limits(call: Call) -> Reply:
    """Answer GET /admin/limits: the settings, the limits until a date, and what is used."""
    server, admission = call.server, call.server.admission
    await admission.restored()
    budgets: dict[Budget, None] = {}
    for name, groups in admission.known_users().items():
        budgets |= dict.fromkeys(admission.budgets(name, groups))
    await admission.ledger.look([budget.key for budget in budgets])
    return Reply(
        {
            "limits": server.limits,
            "shared_budgets": server.shared_budgets,
            "overrides": overrides(admission),
            "budgets": [used(admission, budget) for budget in budgets],
        }
    )


async def set_limit(call: Call) -> Reply:
    """Answer PUT /admin/limits: let limits hold until a date. Raises OllamaError(400, 503)."""
    request = call.decode(LimitRequest)
    zone = call.server.calendar.zone
    override = Override(request.place, request.of, request.limits, _until(request.until, zone))
    if not request.limits:
        raise OllamaError(400, "limits are required")
    try:
        override.check()
    except (ValueError, AttributeError) as error:
        raise OllamaError(400, str(error)) from None
    try:
        await call.server.admission.override(override)
    except StoreLost as error:
        raise OllamaError(503, f"the limit is not set: {error}, please try again") from None
    return Reply()


async def remove_limit(call: Call) -> Reply:
    """Answer DELETE /admin/limits: end limits before their date. Raises OllamaError(404, 503)."""
    request = call.decode(LimitRequest)
    field = Override(request.place, request.of, {}, 0.0).field
    try:
        found = await call.server.admission.remove_override(field)
    except StoreLost as error:
        raise OllamaError(503, f"the limit is not removed: {error}, please try again") from None
    if not found:
        raise OllamaError(404, f"no limit of '{request.of}' is set until a date")
    return Reply()


def _until(text: str, zone: Any) -> float:
    """Return the time at which a date ends, or a time of a day. Raises OllamaError(400)."""
    try:
        if len(text) == len("2026-12-31"):
            day = date.fromisoformat(text)
            until = datetime(day.year, day.month, day.day, 23, 59, 59, 999999, tzinfo=zone)
        else:
            until = datetime.fromisoformat(text)
            until = until if until.tzinfo else until.replace(tzinfo=zone)
    except ValueError:
        raise OllamaError(
            400, "until must be a date or a time, 2026-12-31 or 2026-12-31T18:00"
        ) from None
    seconds = until.timestamp()
    if seconds <= time.time():
        raise OllamaError(400, f"until is over: {text}")
    return seconds
