"""Upload the files of a Modelfile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import blobs
from .client import Client
from .modelfile import Modelfile


class Uploader:
    """Uploads files to a server. Memory use is constant.

    ``show`` receives each step in the form of the steps of a pull: ``status``, and ``completed``
    and ``total`` in bytes.
    """

    def __init__(self, client: Client, show: Callable[[dict[str, Any]], None]) -> None:
        self.client = client
        self._show = show

    def request(self, modelfile: Modelfile, base_dir: Path) -> dict[str, Any]:
        """Upload the files of a Modelfile and return the body of a create request.

        Paths are relative to ``base_dir``. Raises OSError, InvalidModelfile.
        """
        body, files = modelfile.to_request(base_dir)
        for file in files:
            body.setdefault(file.field, {})[file.name] = self.upload(file.path)
        return body

    def upload(self, file: Path) -> str:
        """Send a file unless the server has it, and return its digest."""
        digest = self.digest(file)
        self.send(file, digest)
        return digest

    def digest(self, file: Path) -> str:
        """Return ``sha256:…`` of a file."""
        return blobs.digest(file, self.showing(f"reading {file.name}", file))

    def send(self, file: Path, digest: str) -> None:
        """Send a file unless the server has it."""
        self.client.send_blob(file, digest, self.showing(f"uploading {file.name}", file))

    def showing(self, status: str, file: Path) -> Callable[[int], None]:
        """Return a function that takes the number of bytes done since its last call."""
        total, done = file.stat().st_size, 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._show({"status": status, "completed": done, "total": total})

        return advance
