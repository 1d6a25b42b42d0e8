"""/v1/batches: files of requests that are answered in the background."""

from __future__ import annotations

import time
from typing import Any

from ...batches.records import BatchRecord, new_id
from ...batches.results import usage_of
from ...durations import parse_duration
from ...errors import OllamaError
from ..endpoint import Call, Reply
from .batch_rows import ENDPOINTS, batches_of
from .files import keep_seconds, page
from .wire import BatchRequest

LEAST_WINDOW = 60.0
MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512
"""The bounds of metadata, as OpenAI's API has them."""

_TIMES = (
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
)


async def create(call: Call) -> Reply:
    """Answer POST /v1/batches: begin a batch."""
    request = call.decode(BatchRequest)
    if request.endpoint not in ENDPOINTS:
        known = ", ".join(ENDPOINTS)
        raise OllamaError(400, f"endpoint must be one of {known}")
    if not request.input_file_id:
        raise OllamaError(400, "input_file_id is required")
    server = call.server
    seconds = _window(request.completion_window, 3600 * server.max_batch_hours)
    longest = 86400 * server.batch_days
    wanted = keep_seconds(request.output_expires_after.get("seconds"))
    now = time.time()
    batch = BatchRecord(
        id=new_id("batch_"),
        user=call.requester.name,
        groups=call.requester.groups,
        manages=await call.may("write", "ollama:models"),
        endpoint=request.endpoint,
        input_file=request.input_file_id,
        window=request.completion_window,
        metadata=_metadata(request.metadata),
        created_at=now,
        expires_at=now + seconds,
        keep_seconds=min(wanted or longest, longest),
    )
    return Reply(described(call, await batches_of(server).create(batch)))


async def batches(call: Call) -> Reply:
    """Answer GET /v1/batches: the caller's batches, the newest first."""
    found = await batches_of(call.server).batches(call.requester.name)
    return Reply(page(call, found, [described(call, batch) for batch in found], 20))


async def batch(call: Call) -> Reply:
    """Answer GET /v1/batches/{id}."""
    return Reply(described(call, await _find(call)))


async def cancel(call: Call) -> Reply:
    """Answer POST /v1/batches/{id}/cancel."""
    return Reply(described(call, await batches_of(call.server).cancel(await _find(call))))


async def all_batches(call: Call) -> Reply:
    """Answer GET /admin/batches: the batches of all users, the newest first."""
    found = await batches_of(call.server).batches("")
    shown = [{"user": one.user, "groups": list(one.groups)} | described(call, one) for one in found]
    return Reply({"object": "list", "data": shown})


def described(call: Call, batch: BatchRecord) -> dict[str, Any]:
    """Return a batch as OpenAI's API shows it; ``paused`` is ours: why it waits."""
    errors = {"object": "list", "data": batch.errors} if batch.errors else None
    body: dict[str, Any] = {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "errors": errors,
        "input_file_id": batch.input_file,
        "completion_window": batch.window,
        "status": batch.status,
        "output_file_id": batch.output_file or None,
        "error_file_id": batch.error_file or None,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.expires_at),
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": usage_of(batch),
        "metadata": batch.metadata or None,
    }
    for status in _TIMES:
        at = batch.times.get(status)
        body[f"{status}_at"] = None if at is None else int(at)
    if paused := batches_of(call.server).pause_of(batch.id):
        body["paused"] = paused
    return body


async def _find(call: Call) -> BatchRecord:
    """Return the batch of the path, of the caller or, for administrators, of any user."""
    (batch_id,) = call.arguments
    found = await batches_of(call.server).batch(batch_id)
    if found.user != call.requester.name and not await call.may("write", "ollama:admin"):
        raise OllamaError(404, f"No batch found with id '{batch_id}'.")
    return found


def _window(text: str, longest: float) -> float:
    """Return the seconds of a completion window. Raises OllamaError(400)."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if not LEAST_WINDOW <= seconds <= longest:
        hours = f"{longest / 3600:g}h"
        raise OllamaError(400, f'completion_window must be a duration from 1m to {hours}: "24h"')
    return seconds


def _metadata(given: dict[str, Any]) -> dict[str, str]:
    """Return metadata that is within the bounds. Raises OllamaError(400)."""
    if len(given) > MOST_PAIRS:
        raise OllamaError(400, f"metadata has more than {MOST_PAIRS} pairs")
    for key, value in given.items():
        if not isinstance(value, str) or len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
            raise OllamaError(
                400,
                f"metadata maps keys of up to {LONGEST_KEY} characters to texts of up to "
                f"{LONGEST_VALUE}",
            )
    return given
