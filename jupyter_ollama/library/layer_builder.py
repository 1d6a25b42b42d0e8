"""Building the layers of a new model, with a record of the blobs to remove on failure."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import OllamaError
from . import manifest
from .blob import BlobWriter, touch
from .gguf import Header, InvalidGGUF, read_header
from .gguf_types import FILE_TYPES
from .manifest import Layer
from .regular_file import open_regular
from .store import Store, parse_digest

Status = dict[str, Any]
Quantize = Callable[[Path, Path, str], Iterable[str]]
"""Writes the GGUF of the first path to the second in a type of ``general.file_type``.

It yields lines of progress, with ``[3/42]`` for the third of 42 tensors, and raises OllamaError.
"""

_GGUF_TYPES = (manifest.MODEL, manifest.PROJECTOR, manifest.ADAPTER, manifest.DRAFT)
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4_MOE": "MXFP4"}
_WITH_MATRIX = ("IQ1", "IQ2", "IQ3_X", "Q2_K_S")
_ONLY_READ = ("NVFP4",)
_NO_DIGEST = "0000000000000000000"
_TENSOR_LINE = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")


class BuiltLayer(NamedTuple):
    """A layer, its status line, and the header if it is a GGUF."""

    layer: Layer
    status: str
    header: Header | None = None


class LayerBuilder:
    """Stores layers and holds their blobs; ``created`` are the digests of new blobs."""

    def __init__(self, store: Store, hold: Callable[[str], None]) -> None:
        self.store = store
        self.created: list[str] = []
        self.hold = hold

    def reuse(self, digest: str, media_type: str, from_: str = "", name: str = "") -> BuiltLayer:
        """Use a blob of the store. Raises OllamaError(400) if it is missing."""
        digest = parse_digest(digest)
        self.hold(digest)
        path = self.store.blob_path(digest)
        if not path.is_file():
            raise OllamaError(400, f"blob not found for {from_} (digest {digest})")
        touch(path)
        header = self.read_gguf(digest) if media_type in _GGUF_TYPES else None
        layer = Layer(media_type, digest, path.stat().st_size, from_, name)
        return BuiltLayer(layer, f"using existing layer {digest}", header)

    def add(self, data: bytes, media_type: str) -> BuiltLayer:
        """Store bytes as a layer."""
        with self.store.blob_writer() as writer:
            writer.write(data)
            return self._commit(writer, media_type)

    def adopt(self, writer: BlobWriter, media_type: str, from_: str = "") -> BuiltLayer:
        """Store the GGUF that another process wrote. Raises OllamaError(500) if it is damaged."""
        try:
            header = read_header(writer.path)
            header.check_data()
        except InvalidGGUF as error:
            raise OllamaError(500, f"the new GGUF is damaged: {error}") from None
        writer.adopt()
        return self._commit(writer, media_type, from_)._replace(header=header)

    def read_gguf(self, digest: str, name: str = "") -> Header:
        """Read the header of a blob and check that it contains its tensors. Raises OllamaError."""
        path = self.store.blob_path(digest)
        with open_regular(path) as file:
            if file.read(4) != b"GGUF":
                raise OllamaError(400, "supplied file was not in GGUF format")
        try:
            header = read_header(path)
            header.check_data()
        except InvalidGGUF as error:
            raise OllamaError(400, f"invalid GGUF file {name or digest}: {error}") from None
        return header

    def _commit(self, writer: BlobWriter, media_type: str, from_: str = "") -> BuiltLayer:
        self.hold(writer.digest)  # first: another process may be about to remove such a blob
        blob = writer.commit()
        if blob.created:
            self.created.append(blob.digest)
        verb = "creating new" if blob.created else "using existing"
        layer = Layer(media_type, blob.digest, blob.size, from_)
        return BuiltLayer(layer, f"{verb} layer {blob.digest}")


def quantization(text: str) -> str:
    """Return the name of a quantization type in llama.cpp's casing, or raise OllamaError(400)."""
    wanted = text.upper()
    wanted = _ALIASES.get(wanted, wanted)
    offered = [name for name in FILE_TYPES.values() if name not in _ONLY_READ]
    if wanted and wanted not in offered:
        known = ", ".join(offered)
        raise OllamaError(
            400, f"unsupported quantization type {wanted} - supported types are {known}"
        )
    if wanted.startswith(_WITH_MATRIX):
        raise OllamaError(
            400, f"quantization to {wanted} needs an importance matrix, and there is none here"
        )
    return wanted


def quantized(
    builder: LayerBuilder, part: BuiltLayer, wanted: str, quantize: Quantize
) -> Generator[Status, None, BuiltLayer]:
    """Quantize the weights of a model, yielding its progress; return the new layer."""
    assert part.header
    source = builder.store.blob_path(part.layer.digest)
    status = f"quantizing {part.header.file_type} model to {wanted}"
    with builder.store.blob_writer() as writer:
        yield from progress(status, part.layer.size, quantize(source, writer.path, wanted))
        yield {"status": "verifying conversion"}
        return builder.adopt(writer, part.layer.media_type, part.layer.from_)


def progress(status: str, total: int, output: Iterable[str]) -> Generator[Status, None, None]:
    """Yield status lines from the output of a child, which names the tensor in progress."""
    line: Status = {"status": status, "digest": _NO_DIGEST, "total": total}
    yield line | {"completed": 0}
    last = 0
    for text in output:
        found = _TENSOR_LINE.search(text)
        percent = int(found[1]) * 100 // max(int(found[2]), 1) if found else last
        if percent != last:
            yield line | {"completed": total * percent // 100}
            last = percent
