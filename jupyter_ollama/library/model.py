"""One model of the store, and the library of all of them."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OllamaError
from ..prompt.messages import Message
from . import create, manifest, show
from .capabilities import capabilities, prompt_template, suffix_template
from .gguf import Header, InvalidGGUF, read_header
from .manifest import ImageConfig, InvalidManifest, Manifest
from .name import ModelName
from .store import Store

log = logging.getLogger(__name__)


class Model:
    """A model as its manifest has it at the moment of ``Library.find``; layers are read when asked.

    ``digest`` is the hex sha256 of the manifest file, ``size`` the bytes of all layers,
    ``modified_at`` the local time at which the manifest was written.
    """

    def __init__(self, store: Store, name: ModelName, written: float) -> None:
        """Read the manifest and the config. Raises OllamaError(404) or InvalidManifest."""
        data = store.read_manifest_bytes(name)
        self.name = name
        self.manifest = Manifest.from_json(data)
        self.digest = hashlib.sha256(data).hexdigest()
        self.size = self.manifest.size
        self.place = -int(written), name.parts
        """Where the model stands in lists: the newest first."""
        self.modified_at = datetime.fromtimestamp(written).astimezone()
        self._store = store
        self._tag: dict[str, Any] | None = None
        digest = self.manifest.config.digest
        self.config = ImageConfig.from_json(self._read(digest)) if digest else ImageConfig()

    @property
    def has_weights(self) -> bool:
        """Whether there is a GGUF file; models of other runtimes and remote ones have none."""
        return bool(self._layers(manifest.MODEL))

    @cached_property
    def model_path(self) -> Path:
        """The GGUF file of the weights. Raises OllamaError if the model has none here."""
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
        """The GGUF file of the model that drafts for this one."""
        return next(reversed(self._paths(manifest.DRAFT)), None)

    @property
    def projector_paths(self) -> list[Path]:
        """The GGUF files that turn images into embeddings."""
        return self._paths(manifest.PROJECTOR)

    @property
    def parent_model(self) -> str:
        """The model or file that the weights came from."""
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
        return prompt_template(self.header, self.template, self.config)

    @cached_property
    def suffix_template(self) -> str | None:
        """The Go template for the text around a gap; None if only the GGUF's tokens can mark it."""
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
        """The messages that come before those of a request."""
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
        """What the model can do, in Ollama's words."""
        if not self.has_weights:
            return list(self.config.capabilities or ())
        has_projector = bool(self._layers(manifest.PROJECTOR))
        return capabilities(self.header, self.template, has_projector, self.config)

    def read_header(self, path: Path, arrays: bool = False) -> Header:
        """Read the header of one of the model's files. Raises OllamaError if that fails."""
        try:
            if arrays:
                return read_header(path, arrays=True)
            status = path.stat()
            return _cached_header(path, status.st_mtime_ns, status.st_size)
        except (InvalidGGUF, OSError) as error:
            raise self._unreadable(error) from None

    def details(self) -> dict[str, Any]:
        """Return ``details`` of the answers of /api/tags, /api/ps and /api/show."""
        return show.details(self)

    def modelfile(self) -> str:
        """Return the Modelfile that would make this model."""
        return show.modelfile_text(self)

    def parameters_text(self) -> str:
        """Return the parameters as lines of name and value."""
        return show.parameters_text(self.params)

    def show(self, verbose: bool = False) -> dict[str, Any]:
        """Return the answer of /api/show; ``verbose`` adds the arrays of the GGUF."""
        return show.show_body(self, verbose)

    def tag(self) -> dict[str, Any]:
        """Return the entry of /api/tags."""
        if self._tag is None:
            body = show.tag_body(self)
            if self.has_weights and "capabilities" not in body:
                return body  # the file cannot be read: perhaps it can next time
            self._tag = body
        return self._tag

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
            return self._store.blob_path(digest).read_bytes()
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> OllamaError:
        quoted = f'"{self.name.display}"'
        if isinstance(error, FileNotFoundError):
            return OllamaError(404, f"model {quoted} not found, try pulling it first")
        return OllamaError(500, f"model {quoted} cannot be read: {error}")


@lru_cache(maxsize=512)
def _cached_header(path: Path, modified_ns: int, size: int) -> Header:
    return read_header(path)


Models = list[Model]


class Library:
    """All models of a store."""

    def __init__(self, store: Store, model_folders: Iterable[str | os.PathLike[str]] = ()) -> None:
        from .found_model import FoundModels  # it builds on this module

        self.store = store
        self._found = FoundModels(Path(folder).expanduser() for folder in model_folders)
        self._models: dict[str, tuple[tuple[int, ...], Model]] = {}

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Library:
        """Open the library below a folder, making it if need be."""
        store = Store(Path(root))
        store.prepare()
        return cls(store)

    def find(self, text: str) -> Model:
        """Return the model of a name. Raises InvalidName, or OllamaError(404) if there is none."""
        wanted = ModelName.parse(text)
        name = self.store.resolve(wanted)
        if name is None:
            found = self._found.find(wanted)
            if found is None:
                raise OllamaError(404, f"model '{text}' not found")
            return found
        try:
            return self._model(name, str(self.store.manifest_path(name)))
        except InvalidManifest as error:
            raise OllamaError(500, f"the manifest of model '{text}' is damaged: {error}") from None

    def list(self) -> Models:
        """Return all models, newest first. Damaged ones are left out and logged."""
        models: Models = []
        for name, path in self.store.manifest_files():
            try:
                models.append(self._model(name, path))
            except (InvalidManifest, OllamaError, OSError) as error:
                log.warning("the model %s cannot be read: %s", name.display, error)
        if len(self._models) > len(models):  # some are gone
            self._models = {}
        stored = {model.name for model in models}
        models += [model for model in self._found.list() if model.name not in stored]
        return sorted(models, key=lambda model: model.place)

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name. Raises OllamaError with the texts of /api/copy."""
        found = self.store.resolve(_parse(source, f'source "{source}" is invalid'))
        wanted = _parse(destination, f'destination "{destination}" is invalid')
        if found is None:
            self._refuse(ModelName.parse(source))
            raise OllamaError(404, f'model "{source}" not found')
        self.store.copy(found, self.store.canonical(wanted))

    def delete(self, text: str) -> None:
        """Remove a model. Raises OllamaError with the texts of /api/delete."""
        found = self.store.resolve(_parse(text, f'name "{text}" is invalid'))
        if found is None:
            self._refuse(ModelName.parse(text))
            raise OllamaError(404, f"model '{text}' not found")
        self.store.delete(found)

    def create(self, request: create.CreateRequest) -> Iterator[dict[str, Any]]:
        """Make a model, yielding the status lines of /api/create. Raises OllamaError.

        Nothing is done before the first line is asked for. A creation that fails, or whose
        generator is closed, leaves the store as it was.
        """
        return create.create(self.store, request)

    def _refuse(self, name: ModelName) -> None:
        """Raise OllamaError(403) for a model that is not ours to change."""
        found = self._found.find(name)
        if found:
            raise OllamaError(
                403,
                f"model '{found.name.display}' is the file {found.model_path}, which is used where "
                "it lies: create a model FROM it for a copy in the store, remove the file itself "
                "to be rid of it",
            )

    def _model(self, name: ModelName, path: str) -> Model:
        """Return a model, read anew only if its manifest is another one than before."""
        try:
            status = os.stat(path)  # noqa: PTH116 (often called, see Folders)
        except (FileNotFoundError, NotADirectoryError):
            raise OllamaError(404, f"model '{name.display}' not found") from None
        signature = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._models.get(path)
        if known is None or known[0] != signature:
            known = self._models[path] = (signature, Model(self.store, name, status.st_mtime))
        return known[1]


def _parse(text: str, message: str) -> ModelName:
    try:
        return ModelName.parse(text)
    except ValueError:
        raise OllamaError(400, message) from None
