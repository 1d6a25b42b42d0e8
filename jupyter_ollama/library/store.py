"""The store: Ollama's layout of manifests and blobs below one folder, written atomically."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import OllamaError
from .blob import Blob, BlobWriter
from .folders import Folders
from .holds import Hold, held_digests
from .loose import Loose
from .manifest import InvalidManifest, Manifest
from .manifest_tree import existing, manifest_files
from .name import ModelName
from .temp_file import TempFile, lock, remove_stale

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def parse_digest(text: str) -> str:
    """Return a digest as ``sha256:`` and 64 lower-case hex digits, or raise OllamaError(400)."""
    match = _DIGEST.fullmatch(text)
    if not match:
        raise OllamaError(400, "invalid digest format")
    return f"sha256:{match[1].lower()}"


class Store:
    """The files of all models below ``root``, which a real Ollama may share.

    Blobs are removed only if they are ours (see ``Loose``), no manifest names them, and no process
    holds them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.manifests = root / "manifests"
        self._mutex = threading.RLock()
        self._folders = Folders()
        self.loose = Loose(self.blobs)

    def prepare(self) -> None:
        """Make the folders, mend blob names of old Ollamas, remove what dead writers of ours left.

        That is their temporary files, and blobs that wait for a manifest for too long.
        """
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.manifests.mkdir(parents=True, exist_ok=True)
        for path in self.blobs.glob("sha256:*"):
            target = path.with_name(path.name.replace(":", "-", 1))
            if not target.exists():
                try:
                    path.rename(target)
                except OSError as error:
                    log.warning("cannot rename the blob %s: %s", path, error)
        for folder in (self.blobs, self.manifests):
            remove_stale(folder)
        try:
            self.sweep()
        except OSError as error:  # a store that others write is good enough to read
            log.warning("cannot tidy up the store: %s", error)

    def blob_path(self, digest: str) -> Path:
        """Return where the blob of a digest lies or would lie. Raises OllamaError(400)."""
        return self.blobs / parse_digest(digest).replace(":", "-")

    def has_blob(self, digest: str) -> bool:
        """Tell whether the blob of a digest is there, whole."""
        return self.blob_path(digest).is_file()

    def blob_writer(self, digest: str | None = None) -> BlobWriter:
        """Open a new blob for writing, to be verified against ``digest`` if that is given."""
        return BlobWriter(self.blobs, digest, parse_digest(digest) if digest else None)

    def add_blob(self, data: bytes) -> Blob:
        """Store a small blob."""
        with self.blob_writer() as writer:
            writer.write(data)
            return writer.commit()

    def names(self) -> list[ModelName]:
        """List the names of all manifests, sorted."""
        return sorted((name for name, _ in self.manifest_files()), key=lambda name: name.parts)

    def manifest_files(self) -> list[tuple[ModelName, str]]:
        """List the names of all manifests with their paths."""
        unreadable: list[OSError] = []
        found = manifest_files(self._folders, self.manifests, unreadable)
        for error in unreadable:
            log.warning("cannot list manifests: %s", error)
        return found

    def manifest_path(self, name: ModelName) -> Path:
        """Return where the manifest of a name lies or would lie."""
        return self.manifests / name.path

    def canonical(self, name: ModelName) -> ModelName:
        """Return the name in the casing of what exists, as far as something like it exists."""
        found = existing(self.manifests, name.parts)
        host, namespace, model, tag = (*found, *name.parts[len(found) :])
        return ModelName(host, namespace, model, tag, name.scheme)

    def resolve(self, name: ModelName) -> ModelName | None:
        """Return the existing name that is equal but for case, or None."""
        found = self.canonical(name)
        return found if self.manifest_path(found).is_file() else None

    def read_manifest(self, name: ModelName) -> Manifest:
        """Read a manifest. Raises OllamaError(404) if there is none, or InvalidManifest."""
        return Manifest.from_json(self.read_manifest_bytes(name))

    def read_manifest_bytes(self, name: ModelName) -> bytes:
        """Return a manifest file as it is. Raises OllamaError(404)."""
        try:
            return self.manifest_path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise OllamaError(404, f"model '{name.display}' not found") from None

    def digests(self, name: ModelName) -> set[str]:
        """Return the blobs that a model needs, none if its manifest is missing or unreadable."""
        try:
            return _digests(self.read_manifest_bytes(name))
        except OllamaError:
            return set()

    def write_manifest(self, name: ModelName, manifest: Manifest | bytes) -> None:
        """Write a manifest atomically, then remove the blobs only the one before it needed.

        Bytes are kept as they are. Raises OllamaError(500) if a blob of it is missing.
        """
        data = manifest if isinstance(manifest, bytes) else manifest.to_json()
        needed = Manifest.from_json(data).digests
        with self.locked():
            missing = sorted(digest for digest in needed if not self.has_blob(digest))
            if missing:
                raise OllamaError(500, f"blob {missing[0]} of model '{name.display}' is missing")
            self._put_manifest(name, data)

    def copy(self, source: ModelName, destination: ModelName) -> None:
        """Give a model a second name. Raises OllamaError(404)."""
        with self.locked():
            data = self.read_manifest_bytes(source)
            if source != destination:
                self._put_manifest(destination, data)

    def delete(self, name: ModelName) -> None:
        """Remove a manifest and the blobs that no other manifest uses. Raises OllamaError(404)."""
        with self.locked():
            path = self.manifest_path(name)
            if not path.is_file():
                raise OllamaError(404, f"model '{name.display}' not found")
            self._mark_due(self.digests(name))
            path.unlink()
            for folder in list(path.parents)[:3]:
                with contextlib.suppress(OSError):  # not empty
                    folder.rmdir()
            self._sweep()

    def remove_unused(self, digests: Iterable[str]) -> None:
        """Remove those of the blobs that no manifest uses; held ones go once they are let go.

        Nothing is removed while any manifest cannot be read: it might need them.
        """
        candidates = set(map(parse_digest, digests))
        if candidates:
            with self.locked():
                self._mark_due(candidates)
                self._sweep()

    def sweep(self) -> None:
        """Remove our blobs that have waited too long for a manifest that names them."""
        if self.loose.due():
            with self.locked():
                self._sweep()

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[str], None]]:
        """Yield a function that keeps a blob from removal while its manifest is not yet written.

        Other processes keep to it, too. A blob that was there when it was held stays.
        """
        mine = Hold(self.blobs)

        def hold(digest: str) -> None:
            with self.locked():
                mine.add(parse_digest(digest))

        try:
            yield hold
        finally:
            mine.release()
            self.sweep()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other writers of ours waiting; not to be entered twice."""
        with self._mutex, (self.root / ".jupyter-ollama.lock").open("ab") as file:
            lock(file)
            yield

    def _put_manifest(self, name: ModelName, data: bytes) -> None:
        path = self.manifest_path(name)
        needed = _digests(data)
        self._mark_due(self.digests(name) - needed)
        temp = TempFile(self.manifests)
        try:
            temp.file.write(data)
            temp.sync()
            path.parent.mkdir(parents=True, exist_ok=True)
            temp.rename(path)
        finally:
            temp.discard()
        for digest in needed:
            self.loose.drop(digest)
        self._sweep()

    def _mark_due(self, digests: Iterable[str]) -> None:
        # Before what they are needed by goes: whoever is killed in between has told the next start.
        for digest in digests:
            self.loose.mark(digest, due=True)

    def _sweep(self) -> None:
        due = self.loose.due()
        used = self.used_digests() if due else None
        if used is None:
            return
        for digest in due - held_digests(self.blobs):
            if digest not in used:
                self.blob_path(digest).unlink(missing_ok=True)
            self.loose.drop(digest)

    def used_digests(self) -> set[str] | None:
        """Return the blobs that any manifest names, None if one cannot be read."""
        # Newer Ollamas keep manifests, or links to them, in a second folder.
        used: set[str] = set()
        unreadable: list[OSError] = []
        for folder in (self.manifests, self.root / "manifests-v2"):
            for _, file in manifest_files(Folders(), folder, unreadable):
                path = Path(file)
                try:
                    used |= _parsed(Manifest.from_json(path.read_bytes()).digests)
                    if path.is_symlink():
                        used.add(parse_digest(path.resolve().name))
                except (OSError, InvalidManifest, OllamaError) as error:
                    log.warning("no blob is removed, as %s is unreadable: %s", path, error)
                    return None
        if unreadable:
            log.warning("no blob is removed, as a folder is unreadable: %s", unreadable[0])
            return None
        return used


def _parsed(digests: Iterable[str]) -> set[str]:
    return set(map(parse_digest, digests))


def _digests(data: bytes) -> set[str]:
    try:
        return _parsed(Manifest.from_json(data).digests)
    except (OllamaError, InvalidManifest):
        return set()
