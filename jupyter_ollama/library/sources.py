"""The sources of the layers of a new model: another model, GGUF or safetensors files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import msgspec

from ..errors import OllamaError
from . import child_process, convert, manifest, merge
from .gguf import Header
from .layer_builder import BuiltLayer, LayerBuilder, Status, progress
from .manifest import ImageConfig, InvalidManifest, Manifest
from .name import InvalidName, ModelName
from .regular_file import open_regular, read_regular
from .store import Store, parse_digest

Parts = Generator[Status, None, list[BuiltLayer]]

_SPLIT_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True)
class _Piece:
    """A GGUF file: a whole model, or part ``number`` of ``count``, counted from 0."""

    name: str
    digest: str
    header: Header
    number: int
    count: int

    @property
    def whole(self) -> tuple[str, int]:
        """The key that all parts of one GGUF share."""
        found = _SPLIT_NAME.fullmatch(self.name)
        return found[1] if found else "", self.count

    def named(self, number: int) -> str:
        """The name of another part."""
        stem = self.whole[0]
        if stem:
            return f"{stem}-{number + 1:05}-of-{self.count:05}.gguf"
        return f"part {number + 1} of {self.count}"


def check_files(files: dict[str, str] | None) -> None:
    """Raise OllamaError(400) for a file name that leaves its folder or a faulty digest."""
    for name, digest in (files or {}).items():
        steps = name.split("/")
        if {"", ".", ".."} & set(steps) or "\\" in name or "\0" in name:
            raise OllamaError(400, "file path must be relative")
        if PureWindowsPath(name).drive:
            raise OllamaError(400, "file path must be relative")
        parse_digest(digest)


def base_model(store: Store, text: str) -> tuple[ModelName, Manifest, ImageConfig]:
    """Return the base model of a creation. Raises OllamaError(400 or 404)."""
    try:
        name = store.resolve(ModelName.parse(text))
    except InvalidName:
        raise OllamaError(400, "invalid model name") from None
    if name is None:
        raise OllamaError(404, f"model '{text}' not found")
    try:
        found = store.read_manifest(name)
        config = read_regular(store.blob_path(found.config.digest))
        return name, found, ImageConfig.from_json(config)
    except (InvalidManifest, FileNotFoundError) as error:
        raise OllamaError(500, f"model '{text}' is damaged: {error}") from None


def from_model(builder: LayerBuilder, name: ModelName, source: Manifest) -> list[BuiltLayer]:
    """Reuse the layers of a model."""
    return [
        builder.reuse(layer.digest, layer.media_type, name.display, layer.name)
        for layer in source.layers
    ]


def from_files(builder: LayerBuilder, files: dict[str, str]) -> Parts:
    """Make layers of uploaded files, given as digests by name. Raises OllamaError(400)."""
    if not files:
        raise OllamaError(400, "no files provided to convert")
    kind = _kind(builder, files)
    parts = yield from _CONVERTERS[kind](builder, files)
    if not any(part.layer.media_type == manifest.MODEL for part in parts):
        raise OllamaError(400, "no model was found in the files")
    return parts


def from_adapters(builder: LayerBuilder, files: dict[str, str], base: list[BuiltLayer]) -> Parts:
    """Make the layer of an uploaded LoRA adapter for the model with the layers ``base``.

    Raises OllamaError(400).
    """
    if not files:
        raise OllamaError(400, "no files provided to convert")
    if _kind(builder, files) == "safetensors":
        model = next((part for part in base if part.layer.media_type == manifest.MODEL), None)
        if model is None:
            raise OllamaError(400, "an adapter needs a base model")
        path = builder.store.blob_path(model.layer.digest).absolute()
        steps = _convert(builder, files, "converting adapter", manifest.ADAPTER, path)
        return (yield from steps)
    if len(files) > 1:
        raise OllamaError(400, "only one adapter is currently supported")
    parts = yield from _from_gguf(builder, files)
    if parts[0].layer.media_type != manifest.ADAPTER:
        raise OllamaError(400, f"{next(iter(files))} is not an adapter")
    return parts


def from_draft_files(builder: LayerBuilder, files: dict[str, str]) -> Parts:
    """Make the layer of an uploaded draft model. Raises OllamaError(400)."""
    parts = yield from from_files(builder, files)
    if len(parts) > 1:
        raise OllamaError(400, "only one draft model is currently supported")
    layer = msgspec.structs.replace(parts[0].layer, media_type=manifest.DRAFT)
    return [parts[0]._replace(layer=layer)]


def _kind(builder: LayerBuilder, files: dict[str, str]) -> str:
    for kind in ("safetensors", "gguf"):
        if any(name.endswith(f".{kind}") for name in files):
            return kind
    for name, digest in files.items():
        with open_regular(_blob(builder, name, digest)) as file:
            if file.read(4) == b"GGUF":
                return "gguf"
    raise OllamaError(400, "unknown type")


def _blob(builder: LayerBuilder, name: str, digest: str) -> Path:
    builder.hold(digest)  # first: another process may be about to remove it
    path = builder.store.blob_path(digest)
    if not path.is_file():
        raise OllamaError(400, f"blob not found for {name} (digest {digest})")
    return path


def _from_gguf(builder: LayerBuilder, files: dict[str, str]) -> Parts:
    pieces: dict[tuple[str, int], list[_Piece]] = {}
    parts = []
    for name, digest in sorted(files.items()):
        yield {"status": "parsing GGUF"}
        _blob(builder, name, digest)
        header = builder.read_gguf(digest, name)
        count = header.metadata.get("split.count") or 1
        if count == 1:
            parts.append(builder.reuse(digest, _media_type(header)))
            continue
        piece = _Piece(name, digest, header, header.metadata.get("split.no", 0), count)
        pieces.setdefault(piece.whole, []).append(piece)
    for group in pieces.values():
        parts.append((yield from _merge(builder, group)))
    return parts


def _merge(builder: LayerBuilder, group: list[_Piece]) -> Generator[Status, None, BuiltLayer]:
    """Merge the parts of a split GGUF. Raises OllamaError(400)."""
    by_number = {piece.number: piece for piece in group}
    first = group[0]
    for number in range(first.count):
        if number not in by_number:
            raise OllamaError(
                400, f"{first.named(number)} is missing: all parts of a split GGUF are needed"
            )
    if len(group) > first.count:
        raise OllamaError(400, f"{len(group)} files for the {first.count} parts of a split GGUF")
    ordered = [by_number[number] for number in range(first.count)]
    paths = [builder.store.blob_path(piece.digest) for piece in ordered]
    with builder.store.blob_writer() as writer:
        output = child_process.run(merge.__name__, str(writer.path), *map(str, paths))
        total = sum(path.stat().st_size for path in paths)
        yield from progress("merging GGUF parts", total, output)
        return builder.adopt(writer, _media_type(ordered[0].header))


def _media_type(header: Header) -> str:
    kind = header.metadata.get("general.type")
    if kind == "adapter":
        return manifest.ADAPTER
    blocks = header.get("block_count")
    is_encoder = header.get("vision.block_count") and not blocks
    is_clip = header.architecture == "clip" and not blocks
    if kind in ("projector", "mmproj") or is_encoder or is_clip:
        return manifest.PROJECTOR
    return manifest.MODEL


def _from_safetensors(builder: LayerBuilder, files: dict[str, str]) -> Parts:
    return _convert(builder, files, "converting model", manifest.MODEL)


def _convert(
    builder: LayerBuilder, files: dict[str, str], status: str, media_type: str, *arguments: Path
) -> Parts:
    """Convert a folder of files in a child process, yielding its progress."""
    with tempfile.TemporaryDirectory(prefix="jupyter-ollama-") as folder:
        total = 0
        for name, digest in files.items():
            blob = _blob(builder, name, digest).absolute()
            total += blob.stat().st_size
            link = Path(folder, name)
            try:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(blob)
            except OSError as error:  # too long, or a file where another name has a folder
                raise OllamaError(400, f"{name} cannot be a file name: {error.strerror}") from None
        with builder.store.blob_writer() as writer:
            paths = (folder, str(writer.path), *map(str, arguments))
            output = child_process.run(convert.__name__, *paths)
            yield from progress(status, total, output)
            return [builder.adopt(writer, media_type)]


_CONVERTERS = {"gguf": _from_gguf, "safetensors": _from_safetensors}
