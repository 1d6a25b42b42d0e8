"""Pushing a model: the layers that the registry lacks, then the manifest."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ..errors import OllamaError
from ..library.manifest import MANIFEST
from ..library.name import ModelName
from ..library.store import Store
from .client import LONG_WORK_SECONDS, Open
from .status import Status, layers_of, line, manifest_of, progress
from .transfer_policy import TransferPolicy
from .upload import Upload, Uploads


async def push(
    store: Store, name: ModelName, repository: Open, uploads: Uploads, policy: TransferPolicy
) -> AsyncGenerator[Status, None]:
    """Push a model, yielding Ollama's status lines after the first. Raises OllamaError."""
    try:
        data = store.read_manifest_bytes(name)
        layers = layers_of(manifest_of(data))
    except OllamaError:
        yield {"status": "couldn't retrieve manifest"}
        raise
    with store.holding() as hold:
        async with repository() as asked:
            for layer in layers:
                hold(layer.digest)
                with Upload(asked, name, layer, store.blob_path(layer.digest), uploads) as upload:
                    async for completed in progress(upload, [upload.sent], policy):
                        yield line("pushing", layer, completed)
                    await upload.sent
                yield line("pushing", layer, layer.size)
            yield {"status": "pushing manifest"}
            await asked.read(
                "PUT",
                f"/manifests/{name.tag}",
                data,
                read_timeout=LONG_WORK_SECONDS,
                Content_Type=MANIFEST,
            )
    yield {"status": "success"}
