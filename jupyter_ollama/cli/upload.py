"""Getting files to the server: shared with its store if that is here, else sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_ollama_magics.client import Client, is_loopback

from .progress import Progress

if TYPE_CHECKING:
    from ..library.store import Store

CHUNK = 2**20


class Uploader:
    """Sends files to a server.

    ``models`` is the folder that its store has if it is one of this host and user. A file is shared
    with it as a reflink, or as a hard link if it is read-only, which ``link`` makes it.
    """

    def __init__(self, client: Client, models: Path, link: bool, progress: Progress) -> None:
        self.client = client
        self.link = link
        self.progress = progress
        self.store = own_store(models) if is_loopback(client.url) else None

    def upload(self, file: Path) -> str:
        """Get a file to the server unless it is there, and return its digest."""
        digest = self._share(file) if self.store else None
        if digest is None:
            digest = self._digest(file)
            self._send(file, digest)
        return digest

    def _share(self, file: Path) -> str | None:
        """Put a file into the store without copying it; None where that cannot be done."""
        assert self.store
        with ExitStack() as stack:
            writer = stack.enter_context(self.store.blob_writer())
            with file.open("rb") as source:
                cloned = writer.clone(source)
            if cloned:
                writer.adopt(self._showing(f"reading {file.name}", file))
                digest = writer.digest
                if not self.client.has_blob(digest):
                    writer.commit()
            else:
                found = self._link(file)
                if found is None:
                    return None
                digest = found
        if not self.client.has_blob(digest):  # its store is another one
            self.store.remove_unused([digest])
            self._send(file, digest)
        return digest

    def _link(self, file: Path) -> str | None:
        from ..library.link import is_read_only, link_blob, make_read_only

        assert self.store
        if self.link:
            make_read_only(file)
        if not is_read_only(file):
            return None
        seen = file.stat()
        digest = self._digest(file)
        if not self.client.has_blob(digest):
            link_blob(self.store, file, digest, seen)
        return digest

    def _digest(self, file: Path) -> str:
        found = hashlib.sha256()
        for piece in self._pieces(file, f"reading {file.name}"):
            found.update(piece)
        return f"sha256:{found.hexdigest()}"

    def _send(self, file: Path, digest: str) -> None:
        if not self.client.has_blob(digest):
            self.client.call(
                "POST",
                f"/api/blobs/{digest}",
                content=self._pieces(file, f"uploading {file.name}"),
                headers={"Content-Length": str(file.stat().st_size)},
            )

    def _pieces(self, file: Path, status: str) -> Iterator[bytes]:
        advance = self._showing(status, file)
        with file.open("rb") as source:
            while piece := source.read(CHUNK):
                advance(len(piece))
                yield piece

    def _showing(self, status: str, file: Path) -> Callable[[int], None]:
        total, done = file.stat().st_size, 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.progress.show({"status": status, "completed": done, "total": total})

        return advance


def own_store(models: Path) -> Store | None:
    """Return the store of a folder if this user owns it."""
    from ..library.store import Store

    store = Store(models)
    try:
        mine = store.blobs.stat().st_uid == os.geteuid()
    except (OSError, AttributeError):  # there is none; a system without users
        return None
    return store if mine else None
