"""Manifests and configs: the JSON that ties the layers of a model together.

Key order, escapes and media types are those that Ollama writes, so both can share a store.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
_IMAGE = "application/vnd.ollama.image."
MODEL = _IMAGE + "model"
PROJECTOR = _IMAGE + "projector"
ADAPTER = _IMAGE + "adapter"
DRAFT = _IMAGE + "draft"
TEMPLATE = _IMAGE + "template"
PROMPT = _IMAGE + "prompt"
SYSTEM = _IMAGE + "system"
PARAMS = _IMAGE + "params"
MESSAGES = _IMAGE + "messages"
LICENSE = _IMAGE + "license"


class InvalidManifest(ValueError):
    """A manifest file or a config that cannot be read."""


class Layer(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """One blob of a model. ``from_`` names the model or file it came from, ``size`` is in bytes."""

    media_type: str
    digest: str
    size: int
    from_: str = msgspec.field(default="", name="from")
    name: str = ""


class Manifest(msgspec.Struct, rename="camel"):
    """A model: its config and its layers."""

    schema_version: int = 2
    media_type: str = MANIFEST
    config: Layer = Layer("", "", 0)
    layers: list[Layer] = []

    @property
    def size(self) -> int:
        """The bytes of all layers and the config."""
        return self.config.size + sum(layer.size for layer in self.layers)

    @property
    def digests(self) -> set[str]:
        """The digests of all layers and the config."""
        return {layer.digest for layer in (*self.layers, self.config) if layer.digest}

    def to_json(self) -> bytes:
        """Return the bytes of the manifest file."""
        return encode_json(msgspec.to_builtins(self))

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read a manifest file. Raises InvalidManifest, also for kinds that are not understood."""
        try:
            manifest = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise InvalidManifest(str(error)) from error
        if not manifest.digests:
            raise InvalidManifest("it names no layers")
        return manifest


class ImageConfig(msgspec.Struct):
    """What is said of a model beside its layers; the content of the config blob."""

    model_format: str = ""
    model_family: str = ""
    model_families: list[str] | None = None
    model_type: str = ""
    file_type: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: list[str] | None = None
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    draft: dict[str, str] | None = None
    architecture: str = "amd64"
    os: str = "linux"

    def to_json(self) -> bytes:
        """Return the bytes of the config blob; most empty fields are left out."""
        kept = ("model_format", "model_family", "model_families", "model_type", "file_type")
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        return encode_json({k: v for k, v in fields.items() if v or k in kept})

    @classmethod
    def from_json(cls, data: bytes) -> ImageConfig:
        """Read a config blob. Raises InvalidManifest."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise InvalidManifest(str(error)) from error


def encode_json(value: Any) -> bytes:
    """Encode a value as Go's encoder does, newline included: digests then match Ollama's own."""
    text = json.dumps(_go_numbers(value), ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace") + b"\n"


def _go_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _go_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_go_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value
