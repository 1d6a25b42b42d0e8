"""The status lines of transfers, and the layers that they tell of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

import msgspec

from ..errors import OllamaError
from ..library.manifest import InvalidManifest, Layer, Manifest
from ..library.store import parse_digest
from .pace import Pace

Status = dict[str, Any]


class Progressing(Protocol):
    """What gets on."""

    @property
    def completed(self) -> int:
        """How many bytes are done. It never goes back."""


def line(verb: str, layer: Layer, completed: int) -> Status:
    """Return the status line of a layer. A zero is left out, as Ollama does."""
    digest = layer.digest
    found = {"status": f"{verb} {digest[7:19]}", "digest": digest, "total": layer.size}
    return found | ({"completed": completed} if completed else {})


async def progress(
    work: Progressing, ends: Iterable[asyncio.Future[None]], pace: Pace
) -> AsyncIterator[int]:
    """Yield the bytes that are done whenever they are more, until one of ``ends`` is done."""
    shown = -1
    while not any(end.done() for end in ends):
        await asyncio.wait(ends, timeout=pace.progress, return_when=asyncio.FIRST_COMPLETED)
        if work.completed > shown:
            shown = work.completed
            yield shown


def layers_of(data: bytes) -> list[Layer]:
    """Return the layers of a manifest, each digest once, the config last. Raises OllamaError."""
    try:
        manifest = Manifest.from_json(data)
    except InvalidManifest as error:
        raise OllamaError(500, f"invalid manifest: {error}") from None
    found: dict[str, Layer] = {}
    for layer in (*manifest.layers, *([manifest.config] if manifest.config.digest else [])):
        digest = parse_digest(layer.digest)
        known = found.setdefault(digest, msgspec.structs.replace(layer, digest=digest))
        if layer.size < 0 or layer.size != known.size:
            raise OllamaError(500, f"invalid manifest: size {layer.size} of layer {digest}")
    return list(found.values())
