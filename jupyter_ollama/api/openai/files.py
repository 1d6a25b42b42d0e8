"""/v1/files: the files of batches, as OpenAI's clients send and fetch them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import IO, Any, TypeVar
from urllib.parse import quote

from ...batches.batches import UPLOADED, Upload
from ...batches.records import BatchRecord, FileRecord
from ...errors import OllamaError
from ..endpoint import NDJSON, Body, BufferedBody, Call, Reply
from ..multipart import Form
from .batch_rows import batches_of

T = TypeVar("T", FileRecord, BatchRecord)

_OVERHEAD = 2**16
"""The bytes of a form besides its file."""

LEAST_SECONDS = 3600
"""The shortest time after which a file can be made to expire, as at OpenAI's."""


def open_form(call: Call) -> Body:
    """Return the place where the bytes of a form go."""
    assert isinstance(call.body, BufferedBody)
    return Form(call.server.max_batch_file_bytes + _OVERHEAD, call.body.account)


async def upload(call: Call) -> Reply:
    """Answer POST /v1/files: keep a file."""
    form = call.body
    assert isinstance(form, Form)

    def write(target: IO[bytes]) -> Upload:
        found = form.copy_file(call.content_type, "file", target)
        fields = {name: values[-1] for name, values in found.fields.items()}
        return Upload(
            _purpose(fields.get("purpose", "")),
            found.filename[:255] or "upload.jsonl",
            found.size,
            keep_seconds(fields.get("expires_after[seconds]")),
        )

    size = max(0, form.size - _OVERHEAD)
    file = await batches_of(call.server).add_file(call.requester.name, size, write)
    return Reply(described(file))


async def files(call: Call) -> Reply:
    """Answer GET /v1/files: the caller's files, the newest first unless ``order`` is "asc"."""
    found = await batches_of(call.server).files(call.requester.name)
    if purpose := call.query.get("purpose"):
        found = [file for file in found if file.purpose == purpose]
    if call.query.get("order") == "asc":
        found.reverse()
    return Reply(page(call, found, [described(file) for file in found], 10_000))


async def file(call: Call) -> Reply:
    """Answer GET /v1/files/{id}."""
    (file_id,) = call.arguments
    return Reply(described(await batches_of(call.server).file(call.requester.name, file_id)))


async def content(call: Call) -> Reply:
    """Answer GET /v1/files/{id}/content. It is sent as a download that browsers do not show."""
    (file_id,) = call.arguments
    batches = batches_of(call.server)
    name = (await batches.file(call.requester.name, file_id)).filename
    path = await batches.content(call.requester.name, file_id)
    call.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    call.headers["X-Content-Type-Options"] = "nosniff"
    return Reply(path, content_type=NDJSON)


async def delete(call: Call) -> Reply:
    """Answer DELETE /v1/files/{id}."""
    (file_id,) = call.arguments
    await batches_of(call.server).remove_file(call.requester.name, file_id)
    return Reply({"id": file_id, "object": "file", "deleted": True})


def described(file: FileRecord) -> dict[str, Any]:
    """Return a file as OpenAI's API shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": int(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def page(call: Call, found: Sequence[T], shown: list[dict[str, Any]], most: int) -> dict[str, Any]:
    """Return the part of a list that ``after`` and ``limit`` ask for, ``most`` by default.

    Raises OllamaError(400).
    """
    limit = most
    with contextlib.suppress(ValueError):
        limit = int(call.query.get("limit", most))
    if not 1 <= limit <= 10_000:
        raise OllamaError(400, "limit must be between 1 and 10000")
    start = 0
    if after := call.query.get("after"):
        places = [place for place, one in enumerate(found) if one.id == after]
        if not places:
            raise OllamaError(400, f"there is no '{after}' in this list")
        start = places[0] + 1
    data = shown[start : start + limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + limit < len(shown),
    }


def keep_seconds(value: Any) -> float | None:
    """Return the seconds until a file expires, None if none are given. Raises OllamaError(400)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not LEAST_SECONDS <= seconds < 2**31:
        raise OllamaError(400, f"expires_after.seconds must be {LEAST_SECONDS} or more")
    return seconds


def _purpose(text: str) -> str:
    if text not in UPLOADED:
        known = " or ".join(f'"{purpose}"' for purpose in UPLOADED)
        raise OllamaError(400, f"purpose must be {known}")
    return text
