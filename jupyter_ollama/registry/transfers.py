"""Pulls and pushes of a store, run in the background: the entry point of this package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path

from ..errors import OllamaError
from ..library.disk_errors import explained
from ..library.manifest import Layer
from ..library.name import ModelName
from ..library.store import Store
from .background import BackgroundLoop
from .client import Open, Repository
from .credentials import Credentials
from .download import Downloads, is_stored
from .pull import pull
from .push import push
from .status import Status, layers_of, line, manifest_of, progress
from .transfer_policy import TransferPolicy
from .upload import Uploads


class Transfers:
    """Pulls and pushes. Two pulls of one layer share its download.

    ``mirrors`` maps registry hosts to the URLs of servers used in their place, ``logins`` hosts to
    "user:password". ``offline`` forbids all requests. ``allowed`` are non-public addresses to which
    registries may redirect.
    """

    def __init__(
        self,
        store: Store,
        mirrors: Mapping[str, str] | None = None,
        logins: Mapping[str, str] | None = None,
        offline: bool = False,
        allowed: Iterable[str] = (),
        policy: TransferPolicy | None = None,
    ) -> None:
        self._store = store
        self._mirrors = mirrors or {}
        self._offline = offline
        self._allowed = tuple(allowed)
        self._policy = policy or TransferPolicy()
        key_file = Path.home() / ".ollama" / "id_ed25519"
        self._credentials = Credentials(logins or {}, key_file)
        self._downloads = Downloads(store, self._policy)
        self._uploads: Uploads = {}
        self._background = BackgroundLoop()

    def pull(self, name: ModelName, insecure: bool = False) -> AsyncGenerator[Status, None]:
        """Pull a model, yielding status lines; they raise OllamaError.

        Offline, a stored model suffices.
        """
        return self._background.stream(self._pull(name, insecure))

    def push(self, name: ModelName, insecure: bool = False) -> AsyncGenerator[Status, None]:
        """Push a model, yielding status lines; they raise OllamaError."""
        return self._background.stream(self._push(name, insecure))

    def fetch(self, name: ModelName, layer: Layer) -> AsyncGenerator[Status, None]:
        """Download one layer from a model's repository, yielding status lines; no manifest is read.

        They raise OllamaError.
        """
        return self._background.stream(self._fetch(name, layer))

    def stop(self) -> None:
        """End all transfers. Downloaded bytes are kept for the next pull."""
        self._background.stop()

    async def _pull(self, name: ModelName, insecure: bool) -> AsyncGenerator[Status, None]:
        name = await asyncio.to_thread(self._store.canonical, name)
        if self._offline and self._is_complete(name):
            yield {"status": "success"}
            return
        repository = self._opener(name, insecure)
        steps = pull(self._store, name, repository, self._downloads, self._policy)
        try:
            async with aclosing(steps):
                async for status in steps:
                    yield status
        except OSError as error:
            raise explained(error, f"model '{name.display}'") from error

    async def _fetch(self, name: ModelName, layer: Layer) -> AsyncGenerator[Status, None]:
        try:
            with self._downloads.joined(layer, self._opener(name, insecure=False)) as download:
                async for completed in progress(download, download.ends, self._policy):
                    yield line("pulling", layer, completed)
                await download.stored
                yield line("pulling", layer, layer.size)
        except OSError as error:
            raise explained(error, f"layer {layer.digest}") from error

    async def _push(self, name: ModelName, insecure: bool) -> AsyncGenerator[Status, None]:
        yield {"status": "retrieving manifest"}
        name = await asyncio.to_thread(self._store.canonical, name)
        repository = self._opener(name, insecure)
        steps = push(self._store, name, repository, self._uploads, self._policy)
        try:
            async with aclosing(steps):
                async for status in steps:
                    yield status
        except OSError as error:
            raise OllamaError(500, f"cannot read the model: {error.strerror or error}") from error

    def _opener(self, name: ModelName, insecure: bool) -> Open:
        """Return a factory of clients for a model's repository. Raises OllamaError."""
        if self._offline:
            raise OllamaError(403, f"this server is offline and does not contact {name.host}")
        if name.scheme == "http" and not insecure:
            raise OllamaError(500, "insecure protocol http")
        return lambda: Repository(
            name, insecure, self._mirrors, self._credentials, self._policy, self._allowed
        )

    def _is_complete(self, name: ModelName) -> bool:
        try:
            layers = layers_of(manifest_of(self._store.read_manifest_bytes(name)))
        except OllamaError:
            return False
        return all(is_stored(self._store, layer) for layer in layers)
