"""Pulling a model: its manifest, its layers and the status lines."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import ExitStack

import msgspec

from ..errors import OllamaError
from ..library.blob import touch
from ..library.manifest import MANIFEST, ImageConfig, InvalidManifest, Layer, Manifest
from ..library.name import ModelName
from ..library.requirement import check_requirement
from ..library.store import Store, parse_digest
from .client import Open
from .download import Download, Downloads, is_stored
from .partial import recorded_bytes
from .responses import MAX_MANIFEST, Temporary
from .status import Status, layers_of, line, manifest_of, progress
from .transfer_policy import TransferPolicy

_TENSOR = "application/vnd.ollama.image.tensor"


async def pull(
    store: Store, name: ModelName, repository: Open, downloads: Downloads, policy: TransferPolicy
) -> AsyncGenerator[Status, None]:
    """Pull a model, yielding Ollama's status lines. Raises OllamaError.

    Downloaded bytes are kept for the next pull if the network fails or the last client leaves. The
    blobs of a manifest that proves wrong are removed.
    """
    yield {"status": "pulling manifest"}
    try:
        data = await _manifest(name, repository)
        manifest = manifest_of(data)
        layers = layers_of(manifest)
        _check_runtime(manifest)
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
            await _check_config(store, name, manifest.config, join)
            async for status in _fetch(store, layers, join, policy):
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
        before = store.digests(name)
        await asyncio.to_thread(store.write_manifest, name, manifest, data)
        if before - {layer.digest for layer in layers}:
            yield {"status": "removing unused layers"}
    yield {"status": "success"}


async def _fetch(
    store: Store, layers: list[Layer], join: Callable[[Layer], Download], policy: TransferPolicy
) -> AsyncGenerator[Status, None]:
    """Download the missing layers in sequence."""
    for layer in layers:
        if is_stored(store, layer):
            touch(store.blob_path(layer.digest))
        else:
            download = join(layer)
            async for completed in progress(download, download.ends, policy):
                yield line("pulling", layer, completed)
            if download.stored.done():
                await download.stored
        yield line("pulling", layer, layer.size)


async def _check_config(
    store: Store, name: ModelName, layer: Layer, join: Callable[[Layer], Download]
) -> None:
    """Raise OllamaError for a model that requires a newer Ollama.

    Its config is fetched first, so that no weights are downloaded for a refused model.
    """
    if not layer.digest or layer.size > MAX_MANIFEST:
        return
    layer = msgspec.structs.replace(layer, digest=parse_digest(layer.digest))
    if not is_stored(store, layer):
        await asyncio.shield(join(layer).stored)
    try:
        data = await asyncio.to_thread(store.blob_path(layer.digest).read_bytes)
        requires = ImageConfig.from_json(data).requires
    except InvalidManifest:
        return  # the model can be stored; the error is reported when it is used
    check_requirement(name.display, requires, status=500)


async def _remove(store: Store, downloads: list[Download]) -> None:
    """Remove the new blobs of a wrong manifest, unless another manifest needs them."""
    if downloads:
        await asyncio.wait([download.stored for download in downloads])
    new = [download.layer.digest for download in downloads if download.created]
    await asyncio.to_thread(store.remove_unused, new)


async def _manifest(name: ModelName, repository: Open) -> bytes:
    async with repository() as asked:
        response = await asked.read("GET", f"/manifests/{name.tag}", Accept=MANIFEST)
    data: bytes = response.extensions["content"]
    return data


def _check_runtime(manifest: Manifest) -> None:
    """Raise OllamaError for a model that Ollama runs on another engine."""
    if any(layer.media_type == _TENSOR for layer in manifest.layers):
        raise OllamaError(
            500, "this model requires MLX support, but the MLX runtime is not available"
        )


def _check_space(store: Store, layers: Iterable[Layer]) -> None:
    """Raise OllamaError if the missing layers do not fit on the disk."""
    missing = sum(
        layer.size - recorded_bytes(store.blob_path(layer.digest))
        for layer in layers
        if not is_stored(store, layer)
    )
    free = shutil.disk_usage(store.blobs).free
    if missing > free:
        raise OllamaError(500, f"no space left on device: {missing} bytes needed, {free} free")
