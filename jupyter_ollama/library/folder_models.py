"""Models used in place in the folders of other programs, outside of the store."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ..errors import OllamaError, one_line
from . import manifest
from .folder_scan import HUB, FoundFile, scan
from .folders import Folders
from .gguf import Header
from .manifest import ImageConfig, Layer, Manifest
from .model import Model
from .name import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName

log = logging.getLogger(__name__)

_DEFAULT_QUANTIZATION = "q4_k_m"

Signature = tuple[tuple[int, int], ...]


class FolderModel(Model):
    """A model of GGUF files without a manifest.

    ``digest`` hashes path, size and modification time: reading whole files would take minutes.
    """

    def __init__(self, found: FoundFile, signature: Signature) -> None:
        """Describe the model by its file status."""
        self.name = found.name
        self.digest = self.file_version = _digest(found.weights, signature)
        self._files = {manifest.MODEL: found.weights, manifest.PROJECTOR: found.projectors}
        types = [manifest.MODEL] * len(found.weights) + [manifest.PROJECTOR] * len(found.projectors)
        layers = [
            Layer(kind, f"sha256:{self.digest}", size)
            for kind, (size, _) in zip(types, signature, strict=True)
        ]
        self.manifest = Manifest(layers=layers)
        self.size = self.manifest.size
        written = max(modified for _, modified in signature) / 1e9
        self.place = -int(written), found.name.parts
        self.modified_at = datetime.fromtimestamp(written).astimezone()
        self.config = ImageConfig(model_format="gguf")

    def read_header(self, path: Path, arrays: bool = False) -> Header:
        """Read the header of one of the files; for a split file, with the tensors of all parts.

        Raises OllamaError.
        """
        header = super().read_header(path, arrays)
        first, *rest = self._files[manifest.MODEL]
        if path != first or not rest:
            return header
        more = [
            tensor for part in rest for tensor in super(FolderModel, self).read_header(part).tensors
        ]
        return replace(header, tensors=[*header.tensors, *more])

    def _paths(self, media_type: str) -> list[Path]:
        return list(self._files.get(media_type, ()))


class FolderModels:
    """The models of some folders."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = list(roots)
        self._folders = Folders()
        self._known: dict[Path, tuple[FoundFile, Signature, FolderModel]] = {}

    def list(self) -> list[FolderModel]:
        """Return all readable models, each name once."""
        models: dict[tuple[str, ...], FolderModel] = {}
        for root in self._roots:
            for found in scan(root, self._folders):
                model = self._model(found)
                if model:
                    models.setdefault(_key(found.name), model)
        return list(models.values())

    def find(self, name: ModelName) -> FolderModel | None:
        """Return the model of a name.

        ``user/repository`` suffices for a model of the hub; without a tag the usual quantization
        is chosen.
        """
        if not self._roots:
            return None
        models = self.list()
        hosts = [name.host]
        if name.host == DEFAULT_HOST and name.namespace != DEFAULT_NAMESPACE:
            hosts.append(HUB)
        for host in hosts:
            *repository, tag = _key(ModelName(host, name.namespace, name.model, name.tag))
            keys = ((_key(model.name), model) for model in models)
            same = {key[3]: model for key, model in keys if list(key[:3]) == repository}
            found = same.get(tag)
            if found is None and tag == DEFAULT_TAG:
                found = same.get(_DEFAULT_QUANTIZATION) or next(iter(same.values()), None)
            if found:
                return found
        return None

    def _model(self, found: FoundFile) -> FolderModel | None:
        try:
            states = [path.stat() for path in (*found.weights, *found.projectors)]
            signature = tuple((state.st_size, state.st_mtime_ns) for state in states)
            known = self._known.get(found.weights[0])
            if known is None or known[:2] != (found, signature):
                known = found, signature, FolderModel(found, signature)
                if not _can_run(known[2].header):
                    return None
                self._known[found.weights[0]] = known
            return known[2]
        except (OllamaError, OSError) as error:
            log.debug("%s is not a model: %s", found.weights[0], one_line(error))
            return None


def _can_run(header: Header) -> bool:
    """Return whether a file has weights, unlike adapters, projectors and bare vocabularies."""
    kind = header.metadata.get("general.type")
    return bool(header.tensors) and kind not in ("adapter", "projector", "mmproj")


def _digest(paths: Iterable[Path], signature: Signature) -> str:
    text = repr(([str(path) for path in paths], signature))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _key(name: ModelName) -> tuple[str, ...]:
    return tuple(part.lower() for part in name.parts)
