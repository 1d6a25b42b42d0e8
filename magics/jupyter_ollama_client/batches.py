"""Batches of a jupyter_ollama server: files of requests that it answers in the background."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from .responses import split_lines

if TYPE_CHECKING:
    from .client import Client

Objects = list[dict[str, Any]]

PAGE = 100
"""Batches in an answer to `list`."""


class BatchClient:
    """Batches and their files, over the connections of a client.

    Parameters
    ----------
    client : Client
        The client of the server.

    Raises
    ------
    OllamaResponseError
        By every method, if the server refuses the request or has no batches (404).
    OllamaConnectionError
        By every method, if the server cannot be reached.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def upload(
        self, content: bytes, filename: str = "batch.jsonl", purpose: str = "batch"
    ) -> dict[str, Any]:
        """Send a file and return its record, with its ``id``."""
        files = {"file": (filename, content, "application/x-ndjson")}
        return self._client.call("POST", "/v1/files", files=files, data={"purpose": purpose})

    def remove_file(self, file_id: str) -> None:
        """Remove a file from the server."""
        self._client.call("DELETE", f"/v1/files/{file_id}")

    def lines(self, file_id: str) -> Generator[dict[str, Any]]:
        """Yield the objects of a file; closing the generator ends the transfer."""
        with self._client.reading("GET", f"/v1/files/{file_id}/content") as response:
            for line in split_lines(response.iter_bytes()):
                yield json.loads(line)

    def create(
        self,
        input_file_id: str,
        endpoint: str,
        metadata: dict[str, str] | None = None,
        window: str = "24h",
    ) -> dict[str, Any]:
        """Begin a batch and return its record."""
        body = {
            "input_file_id": input_file_id,
            "endpoint": endpoint,
            "completion_window": window,
            "metadata": metadata,
        }
        return self._client.call("POST", "/v1/batches", body)

    def retrieve(self, batch_id: str) -> dict[str, Any]:
        """Return the record of a batch: its ``status``, ``request_counts`` and files."""
        return self._client.call("GET", f"/v1/batches/{batch_id}")

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Cancel a batch and return its record; answers that have arrived are kept."""
        return self._client.call("POST", f"/v1/batches/{batch_id}/cancel")

    def list(self) -> Objects:
        """Return the batches of the user, the newest first."""
        found: Objects = []
        after = ""
        while True:
            page = self._client.call("GET", f"/v1/batches?limit={PAGE}{after}")
            found += page["data"]
            if not page.get("has_more"):
                return found
            after = f"&after={page['last_id']}"
