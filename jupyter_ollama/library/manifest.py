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
    """One blob of a model. ``from_`` names the model it came from, ``size`` is in bytes."""

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
        """Read a manifest file. Raises InvalidManifest, also for unsupported kinds."""
        try:
            manifest = _manifests.decode(data)
        except msgspec.DecodeError as error:
            raise InvalidManifest(str(error)) from error
        if not manifest.digests:
            raise InvalidManifest("it names no layers")
        return manifest


# msgspec inspects a type on first use, which is not thread-safe.
_manifests = msgspec.json.Decoder(Manifest)


class ImageConfig(msgspec.Struct):
    """The description of a model beside its layers: the content of the config blob.

    ``others`` are unknown fields as JSON, which are preserved when the config is rewritten.
    """

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
    draft: dict[str, Any] | None = None
    architecture: str = "amd64"
    os: str = "linux"
    others: dict[str, bytes] = {}

    def to_json(self) -> bytes:
        """Return the bytes of the config blob; most empty fields are omitted."""
        kept = ("model_format", "model_family", "model_families", "model_type", "file_type")
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        others: dict[str, bytes] = fields.pop("others")
        known = encode_json({k: v for k, v in fields.items() if v or k in kept})
        added = (b"," + encode_json(name).strip() + b":" + json_ for name, json_ in others.items())
        return known.removesuffix(b"}\n") + b"".join(added) + b"}\n"

    @classmethod
    def from_json(cls, data: bytes) -> ImageConfig:
        """Read a config blob. Null means empty. Raises InvalidManifest."""
        try:
            fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
            names = set(cls.__struct_fields__) - {"others"}
            known = {name: msgspec.json.decode(fields.pop(name)) for name in names & fields.keys()}
            config = msgspec.convert({k: v for k, v in known.items() if v is not None}, cls)
        except msgspec.MsgspecError as error:
            raise InvalidManifest(str(error)) from error
        config.others = {name: bytes(value) for name, value in fields.items()}
        return config


msgspec.json.Decoder(ImageConfig)  # see _manifests


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
