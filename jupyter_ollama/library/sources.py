"""Where the layers of a new model come from: another model, GGUF files, or safetensors files."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path, PureWindowsPath

import msgspec

from ..errors import OllamaError
from . import child, manifest
from .draft import Draft, Part, Status
from .gguf import Header
from .manifest import ImageConfig, InvalidManifest, Manifest
from .name import InvalidName, ModelName
from .store import Store, parse_digest

Parts = Generator[Status, None, list[Part]]


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


def from_adapters(draft: Draft, files: dict[str, str]) -> Parts:
    """Make the layer of an uploaded LoRA adapter. Raises OllamaError(400)."""
    if not files:
        raise OllamaError(400, "no files provided to convert")
    if _kind(draft, files) == "safetensors":
        raise OllamaError(400, "safetensors adapters cannot be converted, supply a GGUF file")
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
    path = draft.store.blob_path(digest)
    if not path.is_file():
        raise OllamaError(400, f"blob not found for {name} (digest {digest})")
    return path


def _from_gguf(draft: Draft, files: dict[str, str]) -> Parts:
    parts = []
    for name, digest in sorted(files.items()):
        yield {"status": "parsing GGUF"}
        _blob(draft, name, digest)
        header = draft.read_gguf(digest, name)
        if header.metadata.get("split.count") not in (None, 0, 1):
            raise OllamaError(400, f"{name} is one part of a split GGUF, merge the parts first")
        parts.append(draft.reuse(digest, _media_type(header), name))
    return parts


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
    yield {"status": "converting model"}
    with tempfile.TemporaryDirectory(prefix="jupyter-ollama-") as folder:
        for name, digest in files.items():
            blob = _blob(draft, name, digest).absolute()
            link = Path(folder, name)
            try:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(blob)
            except OSError as error:  # too long, or a file where another name has a folder
                raise OllamaError(400, f"{name} cannot be a file name: {error.strerror}") from None
        with draft.store.blob_writer() as writer:
            for _ in child.run("jupyter_ollama.library.convert", folder, str(writer.path)):
                pass
            return [draft.adopt(writer, manifest.MODEL)]


_CONVERTERS = {"gguf": _from_gguf, "safetensors": _from_safetensors}
