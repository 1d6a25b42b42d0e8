"""The status lines of transfers, and the layers of a manifest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

import msgspec

from ..errors import OllamaError
from ..library.manifest import InvalidManifest, Layer, Manifest
from ..library.store import parse_digest
from .transfer_policy import TransferPolicy

Status = dict[str, Any]


class Transfer(Protocol):
    """A transfer with measurable progress."""

    @property
    def completed(self) -> int:
        """The number of bytes transferred, which never decreases."""


def line(verb: str, layer: Layer, completed: int) -> Status:
    """Return the status line of a layer. A zero is omitted, as in Ollama."""
    digest = layer.digest
    found = {"status": f"{verb} {digest[7:19]}", "digest": digest, "total": layer.size}
    return found | ({"completed": completed} if completed else {})


async def progress(
    work: Transfer, ends: Iterable[asyncio.Future[None]], policy: TransferPolicy
) -> AsyncIterator[int]:
    """Yield the transferred bytes whenever they increase, until one of ``ends`` is done."""
    shown = -1
    while not any(end.done() for end in ends):
        await asyncio.wait(ends, timeout=policy.progress, return_when=asyncio.FIRST_COMPLETED)
        if work.completed > shown:
            shown = work.completed
            yield shown


def manifest_of(data: bytes) -> Manifest:
    """Parse a manifest. Raises OllamaError(500) if it is invalid."""
    try:
        return Manifest.from_json(data)
    except InvalidManifest as error:
        raise OllamaError(500, f"invalid manifest: {error}") from None


def layers_of(manifest: Manifest) -> list[Layer]:
    """Return the layers of a manifest, each digest once, the config last. Raises OllamaError."""
    found: dict[str, Layer] = {}
    for layer in (*manifest.layers, *([manifest.config] if manifest.config.digest else [])):
        digest = parse_digest(layer.digest)
        known = found.setdefault(digest, msgspec.structs.replace(layer, digest=digest))
        if layer.size < 0 or layer.size != known.size:
            raise OllamaError(500, f"invalid manifest: size {layer.size} of layer {digest}")
    return list(found.values())
