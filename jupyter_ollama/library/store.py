"""The store: Ollama's layout of manifests and blobs below one folder, written atomically."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from ..errors import OllamaError
from .blob import Blob, BlobWriter
from .blob_holds import BlobHold, held_digests
from .blob_marks import GRACE_SECONDS, BlobMarks
from .disk_errors import writing
from .folders import Folders
from .manifest import InvalidManifest, Manifest
from .manifest_tree import existing, manifest_files
from .name import ModelName
from .old_downloads import old_downloads, remove_old_downloads
from .regular_file import NotRegularFile, open_lock, read_regular
from .temp_file import TempFile, lock, remove_stale

log = logging.getLogger(__name__)

MAX_MANIFEST = 4 * 2**20
"""The most bytes of a manifest; a model of a hundred layers has 30,000."""

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def parse_digest(text: str) -> str:
    """Return a digest as ``sha256:`` and 64 lower-case hex digits, or raise OllamaError(400)."""
    match = _DIGEST.fullmatch(text)
    if not match:
        raise OllamaError(400, "invalid digest format")
    return f"sha256:{match[1].lower()}"


class Store:
    """The files of all models below ``root``, which a real Ollama may share.

    Blobs are removed only if we created them (see ``BlobMarks``), no manifest names them, and no
    process holds them; partial downloads after a week (see ``old_downloads``).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.manifests = root / "manifests"
        self._mutex = threading.RLock()
        self._folders = Folders()
        self.marks = BlobMarks(self.blobs)

    def prepare(self) -> None:
        """Create the folders, rename blobs of old Ollamas, remove leftovers of our dead writers.

        Leftovers are temporary files, blobs that no manifest has named in time, and old partial
        downloads.
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
        except (OSError, OllamaError) as error:  # a read-only store is usable
            log.warning("cannot clean up the store: %s", error)

    def blob_path(self, digest: str) -> Path:
        """Return the path of a blob, whether it exists or not. Raises OllamaError(400)."""
        return self.blobs / parse_digest(digest).replace(":", "-")

    def has_blob(self, digest: str) -> bool:
        """Return whether the complete blob of a digest exists."""
        return self.blob_path(digest).is_file()

    def blob_writer(self, digest: str | None = None) -> BlobWriter:
        """Open a new blob for writing, to be verified against ``digest`` if given."""
        return BlobWriter(self, digest, parse_digest(digest) if digest else None)

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
        """Return the path of the manifest of a name, whether it exists or not."""
        return self.manifests / name.path

    def canonical(self, name: ModelName) -> ModelName:
        """Return the name in the casing of the existing folders and files, as far as they exist."""
        found = existing(self.manifests, name.parts)
        host, namespace, model, tag = (*found, *name.parts[len(found) :])
        return ModelName(host, namespace, model, tag, name.scheme)

    def resolve(self, name: ModelName) -> ModelName | None:
        """Return the existing name that is equal without regard to case, or None."""
        found = self.canonical(name)
        return found if self.manifest_path(found).is_file() else None

    def read_manifest(self, name: ModelName) -> Manifest:
        """Read a manifest. Raises OllamaError(404) if it is missing, or InvalidManifest."""
        return Manifest.from_json(self.read_manifest_bytes(name))

    def read_manifest_bytes(self, name: ModelName) -> bytes:
        """Return the bytes of a manifest file. Raises OllamaError(404)."""
        try:
            return read_regular(self.manifest_path(name), MAX_MANIFEST)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotRegularFile):
            raise OllamaError(404, f"model '{name.display}' not found") from None

    def digests(self, name: ModelName) -> set[str]:
        """Return the blobs that a model needs, none if its manifest is missing or unreadable."""
        try:
            return _digests(self.read_manifest_bytes(name))
        except OllamaError:
            return set()

    def write_manifest(
        self, name: ModelName, manifest: Manifest, data: bytes | None = None
    ) -> None:
        """Write a manifest atomically, then remove the blobs that only its predecessor needed.

        ``data`` are the bytes that ``manifest`` was read from, which are written as they are.
        Raises OllamaError(500) if a blob is missing.
        """
        needed = _parsed(manifest.digests)
        with self.locked():
            missing = sorted(digest for digest in needed if not self.has_blob(digest))
            if missing:
                raise OllamaError(500, f"blob {missing[0]} of model '{name.display}' is missing")
            self._put_manifest(name, data or manifest.to_json(), needed)

    def copy(self, source: ModelName, destination: ModelName) -> None:
        """Give a model a second name. Raises OllamaError(404)."""
        with self.locked():
            data = self.read_manifest_bytes(source)
            if source != destination:
                self._put_manifest(destination, data, _digests(data))

    def delete(self, name: ModelName) -> None:
        """Remove a manifest and the blobs that no other manifest uses. Raises OllamaError(404)."""
        with self.locked():
            path = self.manifest_path(name)
            if not path.is_file():
                raise OllamaError(404, f"model '{name.display}' not found")
            with writing(f"the deletion of model '{name.display}'"):
                self._mark_due(self.digests(name))
                path.unlink()
            for folder in list(path.parents)[:3]:
                with contextlib.suppress(OSError):  # not empty
                    folder.rmdir()
            self._sweep()

    def remove_unused(self, digests: Iterable[str]) -> None:
        """Remove the blobs that no manifest uses; held blobs are removed after their release.

        Nothing is removed while any manifest is unreadable: it might name them.
        """
        candidates = set(map(parse_digest, digests))
        if candidates:
            with self.locked():
                self._mark_due(candidates)
                self._sweep()

    def sweep(self) -> None:
        """Remove our blobs that no manifest has named in time, and old partial downloads."""
        if self.marks.due() or old_downloads(self.blobs):
            with self.locked():
                self._sweep()
                remove_old_downloads(self.blobs)

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[str], None]]:
        """Yield a function that protects a blob from removal until its manifest is written.

        Other processes respect the hold. A blob that exists when it is held is kept.
        """
        mine = BlobHold(self.blobs)

        def hold(digest: str) -> None:
            digest = parse_digest(digest)
            try:
                with self.locked(), writing("a hold"):
                    mine.add(digest)
            except OllamaError:
                if not self._is_read_only():  # where nothing can be removed
                    raise

        try:
            yield hold
        finally:
            mine.release()
            with contextlib.suppress(OllamaError):  # logged; the next start removes what is due
                self.sweep()

    @contextlib.contextmanager
    def placing(self, digest: str, seconds: float = GRACE_SECONDS) -> Iterator[None]:
        """Mark a blob, kept for ``seconds``, and exclude removals during the caller's rename."""
        with self.locked():
            self.marks.mark(digest, seconds=seconds)
            yield

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude all other writers of this package; not reentrant."""
        with self._mutex, ExitStack() as stack:
            with writing("the lock"):
                file = stack.enter_context(open_lock(self.root / ".jupyter-ollama.lock"))
            lock(file)
            yield

    def _is_read_only(self) -> bool:
        return hasattr(os, "statvfs") and bool(os.statvfs(self.root).f_flag & os.ST_RDONLY)

    def _put_manifest(self, name: ModelName, data: bytes, needed: set[str]) -> None:
        path = self.manifest_path(name)
        self._mark_due(self.digests(name) - needed)
        with writing(f"the manifest of model '{name.display}'"):
            temp = TempFile(self.manifests)
            try:
                temp.file.write(data)
                temp.sync()
                path.parent.mkdir(parents=True, exist_ok=True)
                temp.rename(path)
            finally:
                temp.discard()
        for digest in needed:
            self.marks.drop(digest)
        self._sweep()

    def _mark_due(self, digests: Iterable[str]) -> None:
        # Before the manifest is removed: after a kill in between, the next start sweeps them.
        for digest in digests:
            self.marks.mark(digest, due=True)

    def _sweep(self) -> None:
        due = self.marks.due()
        used = self.used_digests() if due else None
        if used is None:
            return
        for digest in due - held_digests(self.blobs):
            if digest not in used:
                self.blob_path(digest).unlink(missing_ok=True)
            self.marks.drop(digest)

    def used_digests(self) -> set[str] | None:
        """Return the blobs that any manifest names, None if one cannot be read."""
        # Newer Ollamas keep manifests, or links to them, in a second folder.
        used: set[str] = set()
        unreadable: list[OSError] = []
        for folder in (self.manifests, self.root / "manifests-v2"):
            for _, file in manifest_files(Folders(), folder, unreadable):
                path = Path(file)
                try:
                    used |= _parsed(Manifest.from_json(read_regular(path, MAX_MANIFEST)).digests)
                    if path.is_symlink():
                        used.add(parse_digest(path.resolve().name))
                except NotRegularFile as error:
                    log.warning("skipped: %s", error)
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
