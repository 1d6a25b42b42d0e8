"""One model of the store, read from its manifest and layers."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OllamaError
from ..prompt.messages import Message
from . import manifest
from .capabilities import capabilities, hears, prompt_template, suffix_template
from .formats import parser_of, renderer_of
from .gguf import Header, InvalidGGUF, read_header
from .header_cache import HeaderCache
from .manifest import ImageConfig, Manifest
from .name import ModelName
from .regular_file import read_regular
from .requirement import check_requirement
from .store import Store

_headers = HeaderCache()


class Model:
    """A model as of the time of ``Library.find``; layers are read on first use.

    ``digest`` is the hex sha256 of the manifest file, ``size`` the bytes of all layers,
    ``modified_at`` the local time at which the manifest was written.
    """

    is_read = False
    """Whether `read` has read everything."""

    def __init__(self, store: Store, name: ModelName, written: float) -> None:
        """Read the manifest and the config. Raises OllamaError(404) or InvalidManifest."""
        data = store.read_manifest_bytes(name)
        self.name = name
        self.manifest = Manifest.from_json(data)
        self.digest = hashlib.sha256(data).hexdigest()
        self.size = self.manifest.size
        self.place = -int(written), name.parts
        """The sort key of lists: the newest model first."""
        self.modified_at = datetime.fromtimestamp(written).astimezone()
        self.file_version = ""
        """Distinguishes versions of a file that is not addressed by its content."""
        self._store = store
        digest = self.manifest.config.digest
        self.config = ImageConfig.from_json(self._read(digest)) if digest else ImageConfig()

    @property
    def has_weights(self) -> bool:
        """Whether the model has a GGUF file, unlike remote models and those of other runtimes."""
        return bool(self._layers(manifest.MODEL))

    @cached_property
    def model_path(self) -> Path:
        """The GGUF file of the weights. Raises OllamaError if the model has none."""
        paths = self._paths(manifest.MODEL)
        if not paths:
            raise OllamaError(400, f'model "{self.name.display}" has no GGUF file to run')
        return paths[0]

    @property
    def adapter_paths(self) -> list[Path]:
        """The GGUF files of LoRA adapters."""
        return self._paths(manifest.ADAPTER)

    @property
    def draft_path(self) -> Path | None:
        """The GGUF file of the draft model."""
        return next(reversed(self._paths(manifest.DRAFT)), None)

    @property
    def projector_paths(self) -> list[Path]:
        """The GGUF files that encode images and audio into embeddings."""
        return self._paths(manifest.PROJECTOR)

    @property
    def parent_model(self) -> str:
        """The model from which the weights were taken, "" if they came from a file."""
        layers = self._layers(manifest.MODEL)
        return layers[0].from_ if layers else ""

    @cached_property
    def template(self) -> str | None:
        """The Go template, or None if the model has only the Jinja template of its GGUF."""
        texts = self._texts(manifest.TEMPLATE, manifest.PROMPT)
        return texts[-1] if texts else None

    @cached_property
    def prompt_template(self) -> str | None:
        """The Go template that makes prompts, or None if the Jinja template of the GGUF does."""
        return prompt_template(self.header, self.template)

    @property
    def renderer(self) -> str:
        """The built-in renderer that makes prompts in place of templates, or "".

        Raises OllamaError(500) if it is unknown.
        """
        return renderer_of(self.config, self.name)

    @property
    def parser(self) -> str:
        """The parser of answers that the config names, or ""; raises OllamaError(500) likewise."""
        return parser_of(self.config)

    @cached_property
    def suffix_template(self) -> str | None:
        """The Go template of fill-in-the-middle prompts; None if at most the GGUF supports them."""
        return suffix_template(self.template)

    @cached_property
    def system(self) -> str:
        """The system text."""
        return "".join(self._texts(manifest.SYSTEM)[-1:])

    @cached_property
    def params(self) -> dict[str, Any]:
        """The options that the model sets."""
        merged: dict[str, Any] = {}
        for layer in self._layers(manifest.PARAMS):
            merged |= self._decode(layer.digest, dict[str, Any])
        return merged

    @cached_property
    def messages(self) -> list[Message]:
        """The messages that precede those of a request."""
        found: list[Message] = []
        for layer in self._layers(manifest.MESSAGES):
            found = self._decode(layer.digest, list[Message])
        return found

    @cached_property
    def licenses(self) -> list[str]:
        """The texts of the licenses."""
        return self._texts(manifest.LICENSE)

    @property
    def header(self) -> Header:
        """The header of the GGUF file. Raises OllamaError if it cannot be read."""
        return self.read_header(self.model_path)

    @cached_property
    def capabilities(self) -> list[str]:
        """The capabilities of the model, in Ollama's terms."""
        if not self.has_weights:
            return list(self.config.capabilities or ())
        projectors = self.projector_paths
        return capabilities(
            self.header,
            self.template,
            bool(projectors),
            self.config,
            projector_hears=any(self._hears(path) for path in projectors),
        )

    def read(self) -> None:
        """Read the layers that requests use, so that an event loop may use them afterwards.

        Raises OllamaError if the capabilities cannot be read. Other layers raise it when used.
        """
        _ = self.capabilities
        with suppress(OllamaError):
            for name in ("system", "messages", "params", "prompt_template", "suffix_template"):
                getattr(self, name)
            self.is_read = True

    def lacks(self, capability: str) -> bool:
        """Return whether it is certain that the model lacks a capability."""
        return capability not in self.capabilities

    def _hears(self, projector: Path) -> bool:
        try:
            return hears(self.read_header(projector))
        except OllamaError:  # reported when the model is loaded
            return False

    def check_requirement(self) -> None:
        """Raise OllamaError(400) if the model requires a newer Ollama than this server speaks."""
        check_requirement(self.name.display, self.config.requires)

    def read_header(self, path: Path, arrays: bool = False) -> Header:
        """Read the header of one of the model's files. Raises OllamaError if that fails."""
        try:
            if arrays:
                return read_header(path, arrays=True)
            return _headers.read(path)
        except (InvalidGGUF, OSError) as error:
            raise self._unreadable(error) from None

    def _layers(self, *media_types: str) -> list[manifest.Layer]:
        return [layer for layer in self.manifest.layers if layer.media_type in media_types]

    def _paths(self, media_type: str) -> list[Path]:
        return [self._store.blob_path(layer.digest) for layer in self._layers(media_type)]

    def _texts(self, *media_types: str) -> list[str]:
        layers = self._layers(*media_types)
        return [self._read(layer.digest).decode("utf-8", "replace") for layer in layers]

    def _decode(self, digest: str, kind: Any) -> Any:
        try:
            return msgspec.json.decode(self._read(digest), type=kind)
        except msgspec.DecodeError as error:
            raise self._unreadable(error) from None

    def _read(self, digest: str) -> bytes:
        try:
            return read_regular(self._store.blob_path(digest))
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> OllamaError:
        quoted = f'"{self.name.display}"'
        if isinstance(error, FileNotFoundError):
            return OllamaError(404, f"model {quoted} not found, try pulling it first")
        return OllamaError(500, f"model {quoted} cannot be read: {error}")
