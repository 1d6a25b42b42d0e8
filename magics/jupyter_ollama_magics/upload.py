"""Sending files to a server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client
    from .modelfile import Modelfile

CHUNK = 2**20


class Uploader:
    """Sends files to a server. Memory use is constant.

    ``show`` is told the steps as a server tells those of a pull: status, bytes completed, total.
    """

    def __init__(self, client: Client, show: Callable[[dict[str, Any]], None]) -> None:
        self.client = client
        self._show = show

    def request(self, modelfile: Modelfile, base_dir: Path) -> dict[str, Any]:
        """Upload the files of a Modelfile and return the body of a create request.

        Paths count from ``base_dir``. Raises OSError, InvalidModelfile.
        """
        body, files = modelfile.to_request(base_dir)
        for file in files:
            body.setdefault(file.field, {})[file.name] = self.upload(file.path)
        return body

    def upload(self, file: Path) -> str:
        """Get a file to the server unless it is there, and return its digest."""
        digest = self.digest(file)
        self.send(file, digest)
        return digest

    def digest(self, file: Path) -> str:
        """Return ``sha256:…`` of a file."""
        found = hashlib.sha256()
        for piece in self._pieces(file, f"reading {file.name}"):
            found.update(piece)
        return f"sha256:{found.hexdigest()}"

    def send(self, file: Path, digest: str) -> None:
        """Send a file unless the server has it."""
        if not self.client.has_blob(digest):
            self.client.call(
                "POST",
                f"/api/blobs/{digest}",
                content=self._pieces(file, f"uploading {file.name}"),
                headers={"Content-Length": str(file.stat().st_size)},
            )

    def showing(self, status: str, file: Path) -> Callable[[int], None]:
        """Return what to call with the number of bytes done since the last call."""
        total, done = file.stat().st_size, 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._show({"status": status, "completed": done, "total": total})

        return advance

    def _pieces(self, file: Path, status: str) -> Iterator[bytes]:
        advance = self.showing(status, file)
        with file.open("rb") as source:
            while piece := source.read(CHUNK):
                advance(len(piece))
                yield piece
