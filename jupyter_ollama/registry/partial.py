"""A blob that is being downloaded: its file, and records of the downloaded parts.

Names and content of the files are those of Ollama, so that either can resume the other's pull.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
from pathlib import Path
from typing import IO

import msgspec

from ..errors import OllamaError
from ..library.blob_marks import PULL_SECONDS
from ..library.regular_file import NONBLOCKING, read_regular
from ..library.store import Store
from ..library.temp_file import sync_folder
from .transfer_policy import TransferPolicy

_HASH_BYTES = 2**20
_RECORD_BYTES = 128


class Damaged(OllamaError):
    """The registry sent other data than its manifest describes. Retrying does not help."""

    def __init__(self, message: str) -> None:
        super().__init__(500, message)


class Part(msgspec.Struct, rename="pascal"):
    """A range of the blob, and the number of its bytes in the file."""

    n: int
    offset: int
    size: int
    completed: int = 0

    @property
    def position(self) -> int:
        """The offset of the next byte in the blob."""
        return self.offset + self.completed

    @property
    def missing(self) -> int:
        """The number of missing bytes."""
        return self.size - self.completed


# msgspec inspects a type on first use, which is not thread-safe.
_parts = msgspec.json.Decoder(Part)


class PartialBlob:
    """The file ``<blob>-partial`` of ``total`` bytes, locked, and a JSON file for each part.

    Progress is saved after the bytes themselves, so the records of a killed process are correct.
    After a power failure they may not be, which the digest reveals.
    """

    def __init__(
        self, store: Store, digest: str, total: int, file: IO[bytes], policy: TransferPolicy
    ) -> None:
        """Use the existing files; see ``open``."""
        self.digest = digest
        self.total = total
        self._store = store
        self._target = store.blob_path(digest)
        self._path = _partial_path(self._target)
        self._file = file
        self._policy = policy
        self._saved: dict[int, int] = {}
        self._closing = threading.Event()
        self.parts = self._resumable()
        if not self.parts:
            self.restart(policy.part_size(total))

    @classmethod
    def open(
        cls, store: Store, digest: str, total: int, policy: TransferPolicy
    ) -> PartialBlob | None:
        """Open or create the files; None while another process downloads the same blob."""
        path = _partial_path(store.blob_path(digest))
        while True:
            file = os.fdopen(
                os.open(path, os.O_RDWR | os.O_CREAT | NONBLOCKING, 0o644), "r+b", buffering=0
            )
            try:
                if not _lock(file):
                    file.close()
                    return None
                if _is_at(file, path):
                    return cls(store, digest, total, file, policy)
            except BaseException:
                file.close()
                raise
            file.close()  # it became the blob or was removed between the two calls

    @property
    def completed(self) -> int:
        """The number of downloaded bytes."""
        return sum(part.completed for part in self.parts)

    def restart(self, part_size: int) -> None:
        """Discard the downloaded bytes and divide the blob into parts again."""
        self._remove_records()
        self._file.truncate(0)
        self._file.truncate(self.total)
        offsets = range(0, self.total, part_size or 1)
        self.parts = [
            Part(n, offset, min(part_size, self.total - offset)) for n, offset in enumerate(offsets)
        ]
        for part in self.parts:
            self.save(part)

    def write(self, part: Part, data: bytes) -> None:
        """Write the next bytes of a part."""
        rest = memoryview(data)[: part.missing]
        self._file.seek(part.position)
        while rest:
            written = self._file.write(rest)
            part.completed += written
            rest = rest[written:]
        if part.completed - self._saved[part.n] >= self._policy.save:
            self.save(part)

    def save(self, part: Part) -> None:
        """Record the progress of a part."""
        # A single write in place: a record is either the old one or the new one.
        record = msgspec.json.encode(part).ljust(_RECORD_BYTES - 1) + b"\n"
        descriptor = os.open(
            self._record_path(part.n), os.O_WRONLY | os.O_CREAT | NONBLOCKING, 0o644
        )
        try:
            os.write(descriptor, record)
        finally:
            os.close(descriptor)
        self._saved[part.n] = part.completed

    def commit(self) -> None:
        """Verify the digest, then rename the blob into place. Raises Damaged."""
        got = self._hash()
        if got != self.digest:
            raise Damaged(
                f"digest mismatch, file must be downloaded again: want {self.digest}, got {got}"
            )
        os.fsync(self._file.fileno())
        self._path.chmod(0o644)
        if os.name == "nt":
            self._file.close()
        with self._store.placing(self.digest, PULL_SECONDS):
            self._path.replace(self._target)
        sync_folder(self._target.parent)
        self._remove_records()
        self._file.close()

    def interrupt(self) -> None:
        """Interrupt a ``commit`` in another thread."""
        self._closing.set()

    def close(self) -> None:
        """Save the progress for the next pull; remove the files if there is none."""
        if self._file.closed:
            return
        if not self.completed:
            self.discard()
            return
        for part in self.parts:
            self.save(part)
        self._file.close()

    def discard(self) -> None:
        """Remove the files."""
        self._remove_records()
        if os.name == "nt":
            self._file.close()
        self._path.unlink(missing_ok=True)
        self._file.close()

    def _resumable(self) -> list[Part]:
        """Return the recorded parts, [] if they do not cover the blob."""
        if os.fstat(self._file.fileno()).st_size != self.total:
            return []
        try:
            found = [_parts.decode(read_regular(path)) for path in self._records()]
        except (msgspec.DecodeError, OSError):
            return []
        found.sort(key=lambda part: part.offset)
        end = 0
        for part in found:
            if part.offset != end or not 0 <= part.completed <= part.size or part.size == 0:
                return []
            end += part.size
        if end != self.total or {part.n for part in found} != set(range(len(found))):
            return []
        self._saved = {part.n: part.completed for part in found}
        return found

    def _hash(self) -> str:
        found = hashlib.sha256()
        buffer = memoryview(bytearray(_HASH_BYTES))
        self._file.seek(0)
        while size := self._file.readinto(buffer):  # type: ignore[attr-defined]
            found.update(buffer[:size])
            if self._closing.is_set():
                raise OllamaError(500, "the download was interrupted")
        return f"sha256:{found.hexdigest()}"

    def _records(self) -> list[Path]:
        pattern = re.compile(re.escape(self._path.name) + r"-\d+")
        return [path for path in self._path.parent.iterdir() if pattern.fullmatch(path.name)]

    def _record_path(self, n: int) -> Path:
        return self._path.with_name(f"{self._path.name}-{n}")

    def _remove_records(self) -> None:
        for path in self._records():
            path.unlink(missing_ok=True)


def recorded_bytes(target: Path) -> int:
    """Return the number of bytes of a blob that another process has downloaded."""
    done = 0
    for path in target.parent.glob(f"{target.name}-partial-*"):
        try:
            done += _parts.decode(read_regular(path)).completed
        except (OSError, msgspec.DecodeError):  # it is being written or removed
            continue
    return done


def _partial_path(target: Path) -> Path:
    return target.with_name(f"{target.name}-partial")


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; return False if another process holds the lock."""
    if sys.platform == "win32":  # Windows cannot replace an open file anyway
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: no process can hold one
        pass
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
