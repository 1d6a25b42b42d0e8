"""/api/blobs/{digest}: whether a blob exists, and the upload of one of any size."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .endpoint import Body, Call, Reply

if TYPE_CHECKING:
    from ..library.blob import BlobWriter


class BlobUpload:
    """A request body that is hashed and written to the store as it arrives."""

    def __init__(self, writer: BlobWriter) -> None:
        self._stack = ExitStack()
        self._writer = self._stack.enter_context(writer)
        self._committing = False

    def write(self, chunk: bytes) -> None:
        """Hash and write the next bytes."""
        self._writer.write(chunk)

    def commit(self) -> None:
        """Move the blob to its place, or remove it. Raises OllamaError(400)."""
        self._committing = True
        with self._stack:
            self._writer.commit()

    def close(self) -> None:
        """Remove an upload that did not complete."""
        if not self._committing:
            self._stack.close()


class Known:
    """The place for the bytes of a blob that is in the store already: nowhere."""

    def write(self, chunk: bytes) -> None:
        """Drop the bytes."""

    def close(self) -> None:
        """Do nothing."""


def open_upload(call: Call, digest: str) -> Body:
    """Return the place where the bytes of a blob go. Raises OllamaError(400) for a bad digest."""
    store = call.server.store
    return Known() if store.has_blob(digest) else BlobUpload(store.blob_writer(digest))


async def head(call: Call) -> Reply:
    """Answer HEAD /api/blobs/<digest>: 200 if the store has the blob, else 404."""
    return Reply(status=200 if call.server.store.has_blob(call.arguments[0]) else 404)


async def upload(call: Call) -> Reply:
    """Answer POST /api/blobs/<digest>: 201 when stored, 200 if it was there."""
    if not isinstance(call.body, BlobUpload):
        return Reply(status=200)
    # In a thread, for fsync can take seconds. It runs to its end even if the client goes away.
    await asyncio.to_thread(call.body.commit)
    return Reply(status=201)
