"""Verification of the store: missing and damaged blobs, and the models that need them."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OllamaError
from .manifest import InvalidManifest, Layer, Manifest
from .name import ModelName
from .old_downloads import old_downloads
from .regular_file import open_regular
from .store import Store, parse_digest
from .temp_file import FOLDER, stale_files

_PIECE = 2**20
_DAMAGED = ".damaged"

Advance = Callable[[int], None]
"""Called with the number of bytes read since the previous call."""


@dataclass
class Needed:
    """A blob, and the models whose manifests name it."""

    layer: Layer
    models: list[ModelName] = field(default_factory=list)


@dataclass
class Fault:
    """A missing or damaged blob. ``seen`` is the status of the file, None if missing."""

    needed: Needed
    reason: str
    seen: os.stat_result | None = None


class Needs:
    """The blobs that the manifests name; ``unreadable`` has the errors of the other manifests."""

    def __init__(self, store: Store, names: Iterable[ModelName]) -> None:
        self.models = 0
        self.blobs: dict[str, Needed] = {}
        self.unreadable: dict[ModelName, str] = {}
        for name in names:
            try:
                self._add(name, store.read_manifest(name))
            except (InvalidManifest, OllamaError, OSError) as error:
                if store.manifest_path(name).exists():  # else it was deleted just now
                    self.unreadable[name] = str(error)

    @property
    def size(self) -> int:
        """The bytes of all blobs."""
        return sum(needed.layer.size for needed in self.blobs.values())

    def _add(self, name: ModelName, manifest: Manifest) -> None:
        layers = [layer for layer in (*manifest.layers, manifest.config) if layer.digest]
        digests = [parse_digest(layer.digest) for layer in layers]
        for digest, layer in zip(digests, layers, strict=True):
            found = self.blobs.setdefault(digest, Needed(layer))
            if name not in found.models:
                found.models.append(name)
        self.models += 1


def faults(store: Store, needs: Needs, advance: Advance) -> Iterator[Fault]:
    """Read every blob and yield those that are missing or damaged."""
    for digest, needed in needs.blobs.items():
        fault = _fault(store.blob_path(digest), digest, needed, advance)
        if fault is None:
            continue
        # Deleted or replaced during the check: no manifest needs it any more.
        needed.models = [name for name in needed.models if digest in store.digests(name)]
        if needed.models:
            yield fault


def _fault(path: Path, digest: str, needed: Needed, advance: Advance) -> Fault | None:
    found = hashlib.sha256()
    try:
        with open_regular(path) as file:
            seen = os.fstat(file.fileno())
            while piece := file.read(_PIECE):
                found.update(piece)
                advance(len(piece))
    except FileNotFoundError:
        return Fault(needed, "is missing")
    except OSError as error:
        return Fault(needed, f"cannot be read ({error.strerror or error})")
    size = needed.layer.size
    if seen.st_size != size:
        return Fault(needed, f"is damaged: {seen.st_size} bytes in place of {size}", seen)
    if found.hexdigest() != digest[7:]:
        return Fault(needed, "is damaged: its content does not match its digest", seen)
    return None


def set_aside(store: Store, fault: Fault) -> None:
    """Move a damaged blob aside, unless another file has replaced it."""
    path = store.blob_path(fault.needed.layer.digest)
    with store.locked():
        if fault.seen and path.exists() and _same(path.stat(), fault.seen):
            target = store.blobs / FOLDER / f"{path.name}{_DAMAGED}"
            target.parent.mkdir(exist_ok=True)
            path.replace(target)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )


class Leftovers:
    """Files of the store that no model needs: ``ours``, and ``others``, which are kept.

    Ours include old partial downloads of a real Ollama. The others may belong to it, or to a
    creation or a pull that may still go on.
    """

    def __init__(self, store: Store) -> None:
        used = store.used_digests()
        self.ours: list[Path] = [
            *stale_files(store.blobs),
            *stale_files(store.manifests),
            *_set_aside(store, used),
            *itertools.chain.from_iterable(old_downloads(store.blobs).values()),
        ]
        self.others: list[Path] = []
        if used is None:  # the needed blobs are unknown
            return
        due = store.marks.due()
        for path in store.blobs.glob("sha256-*"):
            digest = path.name.replace("-", ":", 1)
            if path.is_file() and digest not in used and path not in self.ours:
                (self.ours if digest in due else self.others).append(path)


def tidy(store: Store) -> None:
    """Remove our leftovers."""
    store.prepare()
    for path in list(_set_aside(store, store.used_digests())):
        path.unlink(missing_ok=True)


def _set_aside(store: Store, used: set[str] | None) -> Iterator[Path]:
    """The damaged blobs that were moved aside and are restored or no longer needed."""
    for path in (store.blobs / FOLDER).glob(f"*{_DAMAGED}"):
        digest = path.stem.replace("-", ":", 1)
        if store.has_blob(digest) or (used is not None and digest not in used):
            yield path


def size_of(paths: Iterable[Path]) -> int:
    """Return the total size of files in bytes."""
    return sum(path.stat().st_size for path in paths if path.exists())
