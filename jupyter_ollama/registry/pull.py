"""Pulling a model: its manifest, its layers, and the status lines that tell of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import ExitStack

from ..errors import OllamaError
from ..library.blob import touch
from ..library.manifest import MANIFEST, InvalidManifest, Layer, Manifest
from ..library.name import ModelName
from ..library.store import Store, parse_digest
from .client import Open, Temporary
from .download import Download, Downloads, is_stored
from .pace import Pace
from .partial import recorded_bytes
from .status import Status, layers_of, line, progress

_TENSOR = "application/vnd.ollama.image.tensor"


async def pull(
    store: Store, name: ModelName, repository: Open, downloads: Downloads, pace: Pace
) -> AsyncGenerator[Status, None]:
    """Pull a model, yielding Ollama's status lines. Raises OllamaError.

    What has come when the network fails or nobody listens any more stays for the next pull. What
    came with a manifest that turns out wrong does not.
    """
    yield {"status": "pulling manifest"}
    try:
        data = await _manifest(name, repository)
        layers = layers_of(data)
        _check_runtime(data)
        await asyncio.to_thread(_check_space, store, layers)
    except OllamaError as error:
        raise OllamaError(error.status, f"pull model manifest: {error.message}") from error
    joined: list[Download] = []
    with store.holding() as hold, ExitStack() as listening:
        for layer in layers:
            hold(layer.digest)

        def join(layer: Layer) -> Download:
            joined.append(listening.enter_context(downloads.joined(layer, repository)))
            return joined[-1]

        try:
            async for status in _fetch(store, layers, join, pace):
                yield status
            yield {"status": "verifying sha256 digest"}
            for download in joined:
                await asyncio.shield(download.stored)
        except Temporary:
            raise
        except OllamaError:
            await _remove(store, joined)
            raise
        yield {"status": "writing manifest"}
        before = _digests(store, name)
        await asyncio.to_thread(store.write_manifest, name, data)
        if before - {layer.digest for layer in layers}:
            yield {"status": "removing unused layers"}
    yield {"status": "success"}


async def _fetch(
    store: Store, layers: list[Layer], join: Callable[[Layer], Download], pace: Pace
) -> AsyncGenerator[Status, None]:
    """Get one layer after the other, as far as they are not there."""
    for layer in layers:
        if is_stored(store, layer):
            touch(store.blob_path(layer.digest))
        else:
            download = join(layer)
            async for completed in progress(download, download.ends, pace):
                yield line("pulling", layer, completed)
            if download.stored.done():
                await download.stored
        yield line("pulling", layer, layer.size)


async def _remove(store: Store, downloads: list[Download]) -> None:
    """Remove what came with a manifest that is wrong, unless something else needs it."""
    if downloads:
        await asyncio.wait([download.stored for download in downloads])
    new = [download.layer.digest for download in downloads if download.created]
    await asyncio.to_thread(store.remove_unused, new)


async def _manifest(name: ModelName, repository: Open) -> bytes:
    async with repository() as asked:
        response = await asked.read("GET", f"/manifests/{name.tag}", Accept=MANIFEST)
    data: bytes = response.extensions["content"]
    return data


def _check_runtime(data: bytes) -> None:
    """Raise OllamaError for a model that Ollama would give to another engine."""
    if any(layer.media_type == _TENSOR for layer in Manifest.from_json(data).layers):
        raise OllamaError(
            500, "this model requires MLX support, but the MLX runtime is not available"
        )


def _check_space(store: Store, layers: Iterable[Layer]) -> None:
    """Raise OllamaError if the disk has no room for what is missing."""
    missing = sum(
        layer.size - recorded_bytes(store.blob_path(layer.digest))
        for layer in layers
        if not is_stored(store, layer)
    )
    free = shutil.disk_usage(store.blobs).free
    if missing > free:
        raise OllamaError(500, f"no space left on device: {missing} bytes needed, {free} free")


def _digests(store: Store, name: ModelName) -> set[str]:
    """Return what the manifest that is about to be replaced needs."""
    try:
        return {parse_digest(digest) for digest in store.read_manifest(name).digests}
    except (OllamaError, InvalidManifest):
        return set()
