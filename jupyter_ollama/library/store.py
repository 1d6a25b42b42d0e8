"""The store: Ollama's layout of manifests and blobs below one folder, written atomically."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import OllamaError
from .blob import Blob, BlobWriter
from .manifest import InvalidManifest, Manifest
from .name import InvalidName, ModelName
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

    Only blobs that a delete or an overwrite leaves without a manifest are ever removed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.manifests = root / "manifests"
        self._mutex = threading.RLock()
        self._held: Counter[str] = Counter()
        self._postponed: set[str] = set()

    def prepare(self) -> None:
        """Make the folders, mend blob names of old Ollamas, remove what our dead writers left."""
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
        unreadable: list[OSError] = []
        found = [name for name, _ in _manifest_files(self.manifests, unreadable)]
        for error in unreadable:
            log.warning("cannot list manifests: %s", error)
        return sorted(found, key=lambda name: name.parts)

    def manifest_path(self, name: ModelName) -> Path:
        """Return where the manifest of a name lies or would lie."""
        return self.manifests / name.path

    def canonical(self, name: ModelName) -> ModelName:
        """Return the name in the casing of what exists, as far as something like it exists."""
        found = _existing(self.manifests, name.parts)
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

    def write_manifest(self, name: ModelName, manifest: Manifest | bytes) -> None:
        """Write a manifest atomically, then remove the blobs only the one before it needed.

        Bytes are kept as they are. Raises OllamaError(500) if a blob of it is missing.
        """
        data = manifest if isinstance(manifest, bytes) else manifest.to_json()
        needed = Manifest.from_json(data).digests
        with self._locked():
            missing = sorted(digest for digest in needed if not self.has_blob(digest))
            if missing:
                raise OllamaError(500, f"blob {missing[0]} of model '{name.display}' is missing")
            self._put_manifest(name, data)

    def copy(self, source: ModelName, destination: ModelName) -> None:
        """Give a model a second name. Raises OllamaError(404)."""
        data = self.read_manifest_bytes(source)
        if source != destination:
            with self._locked():
                self._put_manifest(destination, data)

    def delete(self, name: ModelName) -> None:
        """Remove a manifest and the blobs that no other manifest uses. Raises OllamaError(404)."""
        with self._locked():
            unused = self._digests(name)
            path = self.manifest_path(name)
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise OllamaError(404, f"model '{name.display}' not found") from None
            for folder in list(path.parents)[:3]:
                with contextlib.suppress(OSError):  # not empty
                    folder.rmdir()
            self._sweep(unused)

    def remove_unused(self, digests: Iterable[str]) -> None:
        """Remove those of the blobs that no manifest uses and nobody holds.

        Nothing is removed while any manifest cannot be read: it might need them.
        """
        candidates = set(map(parse_digest, digests))
        if candidates:
            with self._locked():
                self._sweep(candidates)

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[str], None]]:
        """Yield a function that keeps a blob from removal while its manifest is not yet written."""
        mine: list[str] = []

        def hold(digest: str) -> None:
            with self._mutex:
                self._held[digest] += 1
                mine.append(digest)

        try:
            yield hold
        finally:
            with self._mutex:
                self._held.subtract(mine)
                self._held = +self._held
                postponed = {d for d in mine if d in self._postponed and not self._held[d]}
                self._postponed -= postponed
            self.remove_unused(postponed)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex, (self.root / ".jupyter-ollama.lock").open("ab") as file:
            lock(file)
            yield

    def _put_manifest(self, name: ModelName, data: bytes) -> None:
        path = self.manifest_path(name)
        before = self._digests(name)
        temp = TempFile(self.manifests)
        try:
            temp.file.write(data)
            temp.sync()
            path.parent.mkdir(parents=True, exist_ok=True)
            temp.rename(path)
        finally:
            temp.discard()
        self._sweep(before)

    def _sweep(self, digests: set[str]) -> None:
        used = self._used_digests() if digests else None
        if used is None:
            return
        for digest in digests - used:
            if self._held[digest]:
                self._postponed.add(digest)
            else:
                self.blob_path(digest).unlink(missing_ok=True)

    def _digests(self, name: ModelName) -> set[str]:
        try:
            return {parse_digest(digest) for digest in self.read_manifest(name).digests}
        except (OllamaError, InvalidManifest):
            return set()

    def _used_digests(self) -> set[str] | None:
        # Newer Ollamas keep manifests, or links to them, in a second folder.
        used: set[str] = set()
        unreadable: list[OSError] = []
        for folder in (self.manifests, self.root / "manifests-v2"):
            for _, path in _manifest_files(folder, unreadable):
                try:
                    digests = Manifest.from_json(path.read_bytes()).digests
                    used.update(parse_digest(digest) for digest in digests)
                    if path.is_symlink():
                        used.add(parse_digest(path.resolve().name))
                except (OSError, InvalidManifest, OllamaError) as error:
                    log.warning("no blob is removed, as %s is unreadable: %s", path, error)
                    return None
        if unreadable:
            log.warning("no blob is removed, as a folder is unreadable: %s", unreadable[0])
            return None
        return used


def _manifest_files(
    folder: Path, unreadable: list[OSError], *parts: str
) -> Iterator[tuple[ModelName, Path]]:
    """The files at the depth of manifests whose paths are names; folders that fail are noted."""
    try:
        entries = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        unreadable.append(error)
        return
    for entry in entries:
        if len(parts) < 3:
            yield from _manifest_files(entry, unreadable, *parts, entry.name)
        elif not entry.is_dir():
            with contextlib.suppress(InvalidName):
                host, namespace, model = parts
                yield ModelName(host, namespace, model, entry.name), entry


def _existing(folder: Path, parts: tuple[str, ...]) -> tuple[str, ...]:
    """The longest run of existing entries that equal the parts but for case."""
    if not parts:
        return ()
    best: tuple[str, ...] = ()
    for entry in _casings(folder, parts[0]):
        found = (entry, *_existing(folder / entry, parts[1:]))
        if len(found) > len(best):
            best = found
        if len(best) == len(parts):
            break
    return best


def _casings(folder: Path, part: str) -> list[str]:
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    wanted = part.lower()
    same = [entry for entry in entries if entry.isascii() and entry.lower() == wanted]
    return sorted(same, key=lambda entry: (entry != part, entry))
