"""Where the layers of a new model come from: another model, GGUF files, or safetensors files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import msgspec

from ..errors import OllamaError
from . import child, manifest
from .draft import Draft, Part, Status, progress
from .gguf import Header
from .manifest import ImageConfig, InvalidManifest, Manifest
from .name import InvalidName, ModelName
from .store import Store, parse_digest

Parts = Generator[Status, None, list[Part]]

_SPLIT_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True)
class _Piece:
    """One file of a GGUF: the whole, or one of ``count`` parts, of which the first is 0."""

    name: str
    digest: str
    header: Header
    number: int
    count: int

    @property
    def whole(self) -> tuple[str, int]:
        """What the parts of one GGUF have in common."""
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
    """Return the model that another one is made from. Raises OllamaError(400 or 404)."""
    try:
        name = store.resolve(ModelName.parse(text))
    except InvalidName:
        raise OllamaError(400, "invalid model name") from None
    if name is None:
        raise OllamaError(404, f"model '{text}' not found")
    try:
        found = store.read_manifest(name)
        config = store.blob_path(found.config.digest).read_bytes()
        return name, found, ImageConfig.from_json(config)
    except (InvalidManifest, FileNotFoundError) as error:
        raise OllamaError(500, f"model '{text}' is damaged: {error}") from None


def from_model(draft: Draft, name: ModelName, source: Manifest) -> list[Part]:
    """Take over the layers of a model."""
    return [
        draft.reuse(layer.digest, layer.media_type, name.display, layer.name)
        for layer in source.layers
    ]


def from_files(draft: Draft, files: dict[str, str]) -> Parts:
    """Make layers of uploaded files, given as digests by name. Raises OllamaError(400)."""
    if not files:
        raise OllamaError(400, "no files provided to convert")
    kind = _kind(draft, files)
    parts = yield from _CONVERTERS[kind](draft, files)
    if not any(part.layer.media_type == manifest.MODEL for part in parts):
        raise OllamaError(400, "no model was found in the files")
    return parts


def from_adapters(draft: Draft, files: dict[str, str], base: list[Part]) -> Parts:
    """Make the layer of an uploaded LoRA adapter for the model that ``base`` are the layers of.

    Raises OllamaError(400).
    """
    if not files:
        raise OllamaError(400, "no files provided to convert")
    if _kind(draft, files) == "safetensors":
        model = next((part for part in base if part.layer.media_type == manifest.MODEL), None)
        if model is None:
            raise OllamaError(400, "an adapter needs a model that it is for")
        path = draft.store.blob_path(model.layer.digest).absolute()
        convert = _convert(draft, files, "converting adapter", manifest.ADAPTER, path)
        return (yield from convert)
    if len(files) > 1:
        raise OllamaError(400, "only one adapter is currently supported")
    parts = yield from _from_gguf(draft, files)
    if parts[0].layer.media_type != manifest.ADAPTER:
        raise OllamaError(400, f"{parts[0].layer.from_} is not an adapter")
    return parts


def from_draft_files(draft: Draft, files: dict[str, str]) -> Parts:
    """Make the layer of an uploaded draft model. Raises OllamaError(400)."""
    parts = yield from from_files(draft, files)
    if len(parts) > 1:
        raise OllamaError(400, "only one draft model is currently supported")
    layer = msgspec.structs.replace(parts[0].layer, media_type=manifest.DRAFT)
    return [parts[0]._replace(layer=layer)]


def _kind(draft: Draft, files: dict[str, str]) -> str:
    for kind in ("safetensors", "gguf"):
        if any(name.endswith(f".{kind}") for name in files):
            return kind
    for name, digest in files.items():
        with _blob(draft, name, digest).open("rb") as file:
            if file.read(4) == b"GGUF":
                return "gguf"
    raise OllamaError(400, "unknown type")


def _blob(draft: Draft, name: str, digest: str) -> Path:
    draft.hold(digest)  # first: another process may be about to remove it
    path = draft.store.blob_path(digest)
    if not path.is_file():
        raise OllamaError(400, f"blob not found for {name} (digest {digest})")
    return path


def _from_gguf(draft: Draft, files: dict[str, str]) -> Parts:
    pieces: dict[tuple[str, int], list[_Piece]] = {}
    parts = []
    for name, digest in sorted(files.items()):
        yield {"status": "parsing GGUF"}
        _blob(draft, name, digest)
        header = draft.read_gguf(digest, name)
        count = header.metadata.get("split.count") or 1
        if count == 1:
            parts.append(draft.reuse(digest, _media_type(header), name))
            continue
        piece = _Piece(name, digest, header, header.metadata.get("split.no", 0), count)
        pieces.setdefault(piece.whole, []).append(piece)
    for group in pieces.values():
        parts.append((yield from _merge(draft, group)))
    return parts


def _merge(draft: Draft, group: list[_Piece]) -> Generator[Status, None, Part]:
    """Make one GGUF of the parts of a split one. Raises OllamaError(400)."""
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
    paths = [draft.store.blob_path(piece.digest) for piece in ordered]
    with draft.store.blob_writer() as writer:
        output = child.run("jupyter_ollama.library.merge", str(writer.path), *map(str, paths))
        total = sum(path.stat().st_size for path in paths)
        yield from progress("merging GGUF parts", total, output)
        return draft.adopt(writer, _media_type(ordered[0].header), ordered[0].name)


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


def _from_safetensors(draft: Draft, files: dict[str, str]) -> Parts:
    return _convert(draft, files, "converting model", manifest.MODEL)


def _convert(
    draft: Draft, files: dict[str, str], status: str, media_type: str, *arguments: Path
) -> Parts:
    """Convert a folder of files in a child process, yielding its progress."""
    with tempfile.TemporaryDirectory(prefix="jupyter-ollama-") as folder:
        total = 0
        for name, digest in files.items():
            blob = _blob(draft, name, digest).absolute()
            total += blob.stat().st_size
            link = Path(folder, name)
            try:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(blob)
            except OSError as error:  # too long, or a file where another name has a folder
                raise OllamaError(400, f"{name} cannot be a file name: {error.strerror}") from None
        with draft.store.blob_writer() as writer:
            paths = (folder, str(writer.path), *map(str, arguments))
            output = child.run("jupyter_ollama.library.convert", *paths)
            yield from progress(status, total, output)
            return [draft.adopt(writer, media_type)]


_CONVERTERS = {"gguf": _from_gguf, "safetensors": _from_safetensors}
