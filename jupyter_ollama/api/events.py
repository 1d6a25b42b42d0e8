"""Events of the server in Jupyter's event system, for logs and subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .endpoint import BufferedBody, Call

if TYPE_CHECKING:
    from jupyter_events import EventLogger

    from ..scheduler.events import Events

SCHEMA_ID = "https://events.jupyter.org/jupyter_ollama/event/v1"
KINDS = (
    *("load", "unload", "change", "refuse", "cancel"),
    *("drain", "resume", "block", "unblock", "limit"),
)
SCHEMA = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "Models and their users",
    "description": "A model was loaded or changed, or a request was refused. No text is in it.",
    "personal-data": True,
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {
            "type": "string",
            "enum": [*KINDS],
        },
        "user": {
            "type": "string",
            "description": "The sender of the request, or whom a change affects.",
        },
        "model": {"type": "string"},
        "seconds": {"type": "number", "description": "How long a load took."},
        "path": {"type": "string", "description": "The path of the API that changed models."},
        "status": {"type": "integer", "description": "The HTTP status of the answer."},
        "reason": {"type": "string", "description": "Why a request was refused."},
    },
}


class _Named(msgspec.Struct):
    """The fields in which requests name the model that they change."""

    model: str = ""
    name: str = ""
    destination: str = ""


def emit_events(events: Events, logger: EventLogger) -> None:
    """Have events emitted by the logger of a Jupyter server."""
    logger.register_event_schema(SCHEMA)

    def emit(kind: str, data: dict[str, Any]) -> None:
        if kind in KINDS:
            logger.emit(schema_id=SCHEMA_ID, data={"kind": kind, **data})

    events.listeners.append(emit)


def changed_model(call: Call) -> str:
    """Return the name of the model that the body of a call names, "" for none."""
    named = _Named()
    if isinstance(call.body, BufferedBody):
        try:
            named = msgspec.json.decode(call.body.data, type=_Named)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return named.model or named.name or named.destination


def emit_change(call: Call, path: str, status: int) -> None:
    """Emit an event for a pull, creation or deletion of a model, or the attempt."""
    call.server.events.emit(
        "change",
        user=call.requester.name,
        model=changed_model(call),
        path=path,
        status=status,
    )
