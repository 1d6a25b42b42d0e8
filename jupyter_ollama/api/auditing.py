"""The lines of the audit log about changes, and about texts if they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .endpoint import BufferedBody, Call, Endpoint
from .events import changed_model

if TYPE_CHECKING:
    from ..audit.log import AuditLog

MOST_OF_A_CHANGE = 2000
"""Characters of the body of an administrator's change: names, numbers and dates."""


class Answered(NamedTuple):
    """A request that was answered with an HTTP status; ``path`` is the route's."""

    method: str
    path: str
    status: int
    request_id: str


def write_audit(audit: AuditLog, endpoint: Endpoint, call: Call, answered: Answered) -> None:
    """Write a change, or the text of a request to a model. Other requests write nothing here."""
    sender: dict[str, Any] = {
        "user": call.requester.name,
        "groups": list(call.requester.groups),
        "path": answered.path,
        "id": answered.request_id,
    }
    if endpoint.action == "write":
        change = {"method": answered.method, "subject": list(call.arguments)}
        if endpoint.changes_models:
            change["model"] = changed_model(call)
        else:
            change["change"] = _text(call, MOST_OF_A_CHANGE)
        audit.write("change", sender | change | {"status": answered.status})
    elif endpoint.runs_model and call.server.audits_text:
        audit.write("text", sender | {"text": _text(call, call.server.audit_max_text)})


def _text(call: Call, most: int) -> str:
    """Return the beginning of a JSON body."""
    if not isinstance(call.body, BufferedBody):
        return ""
    # A character has at most four bytes.
    return call.body.data[: 4 * most].decode("utf-8", "replace")[:most]
