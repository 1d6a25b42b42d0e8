"""The library: all models of a store and of the folders of other programs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import OllamaError, one_line
from .folder_models import FolderModels
from .manifest import InvalidManifest
from .model import Model
from .name import ModelName
from .store import Store

log = logging.getLogger(__name__)

Models = list[Model]


class Library:
    """All models of a store."""

    def __init__(self, store: Store, model_folders: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.store = store
        self._found = FolderModels(Path(folder).expanduser() for folder in model_folders)
        self._models: dict[str, tuple[tuple[int, ...], Model]] = {}
        self._paths: dict[str, str] = {}

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Library:
        """Open the library below a folder, creating it if necessary."""
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
        path = str(self.store.manifest_path(name))
        try:
            model = self._model(name, path)
        except InvalidManifest as error:
            raise OllamaError(500, f"the manifest of model '{text}' is damaged: {error}") from None
        if name.parts == wanted.parts:
            self._paths[text] = path
        return model

    def known(self, text: str) -> Model | None:
        """Return the model that `find` returned for this text, if its manifest has not changed.

        The event loop may call this, since it reads the status of one file. A name in other casing
        than the store's needs the lists of folders, and is not known.
        """
        path = self._paths.get(text, "")
        try:
            signature = _signature(os.stat(path))  # noqa: PTH116
        except OSError:
            return None
        known = self._models.get(path)
        return known[1] if known and known[0] == signature else None

    def list(self) -> Models:
        """Return all models, newest first. Damaged models are skipped and logged."""
        models: Models = []
        for name, path in self.store.manifest_files():
            try:
                models.append(self._model(name, path))
            except (InvalidManifest, OllamaError, OSError) as error:
                log.warning("the model %s cannot be read: %s", name.display, one_line(error))
        if len(self._models) > len(models):  # some were removed
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

    def _refuse(self, name: ModelName) -> None:
        """Raise OllamaError(403) for a model in the folder of another program."""
        found = self._found.find(name)
        if found:
            raise OllamaError(
                403,
                f"model '{found.name.display}' is the file {found.model_path}, which is used in "
                "place: create a model FROM it for a copy in the store, or remove the file itself",
            )

    def _model(self, name: ModelName, path: str) -> Model:
        """Return a model, read anew only if its manifest has changed."""
        try:
            status = os.stat(path)  # noqa: PTH116 (often called, see Folders)
        except (FileNotFoundError, NotADirectoryError):
            raise OllamaError(404, f"model '{name.display}' not found") from None
        signature = _signature(status)
        known = self._models.get(path)
        if known is None or known[0] != signature:
            known = self._models[path] = (signature, Model(self.store, name, status.st_mtime))
        return known[1]


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _parse(text: str, message: str) -> ModelName:
    try:
        return ModelName.parse(text)
    except ValueError:
        raise OllamaError(400, message) from None
