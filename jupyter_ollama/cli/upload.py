"""Getting files to the server: shared with its store if that is here, else sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.addresses import is_loopback
from jupyter_ollama_client.client import Client
from jupyter_ollama_client.upload import Uploader

if TYPE_CHECKING:
    from ..library.store import Store


class SharingUploader(Uploader):
    """Shares files with a server on this host, and sends them to others.

    ``models`` is the folder that its store has if it is one of this host and user. A file is shared
    with it as a reflink, or as a hard link if it is read-only, which ``link`` makes it.
    """

    def __init__(
        self, client: Client, models: Path, link: bool, show: Callable[[dict[str, Any]], None]
    ) -> None:
        super().__init__(client, show)
        self.link = link
        self.store = own_store(models) if is_loopback(client.url) else None

    def upload(self, file: Path) -> str:
        """Upload a file unless the server has it, and return its digest."""
        shared = self._share(file) if self.store else None
        return super().upload(file) if shared is None else shared

    def _share(self, file: Path) -> str | None:
        """Put a file into the store without copying it; None where that cannot be done."""
        assert self.store
        with ExitStack() as stack:
            writer = stack.enter_context(self.store.blob_writer())
            with file.open("rb") as source:
                cloned = writer.clone(source)
            if cloned:
                writer.adopt(self.showing(f"reading {file.name}", file))
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
            self.send(file, digest)
        return digest

    def _link(self, file: Path) -> str | None:
        from ..library.hard_link import is_read_only, link_blob, make_read_only

        assert self.store
        if self.link:
            make_read_only(file)
        if not is_read_only(file):
            return None
        seen = file.stat()
        digest = self.digest(file)
        if not self.client.has_blob(digest):
            link_blob(self.store, file, digest, seen)
        return digest


def own_store(models: Path) -> Store | None:
    """Return the store of a folder if this user owns it."""
    from ..library.store import Store

    store = Store(models)
    try:
        mine = store.blobs.stat().st_uid == os.geteuid()
    except (OSError, AttributeError):  # there is none; a system without users
        return None
    return store if mine else None
