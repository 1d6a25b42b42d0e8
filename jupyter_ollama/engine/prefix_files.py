"""The files of system prompts whose KV state is kept for later runners: one folder for all models.

A file has the tokens of a system prompt and the state that llama.cpp saves of them. Its name is
made of the model, of all that decides the bytes of a state (`state_key`), and of the prompt with
its scope; its header repeats them. Files are written whole or not at all, and damaged ones are
removed. Their text can be read from the tokens, so only the user of the server can open them.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
import zlib
from contextlib import suppress
from hashlib import blake2b
from io import BufferedReader
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .account_trees import SystemPrefix
from .saved_state import SavedState

log = logging.getLogger(__name__)

MAGIC = b"prefix 1"
"""The beginning of a file, with the number of its format."""

LONGEST_HEADER = 2**24
"""Bytes of a header: 4 for each token, some for each part."""

ABANDONED_SECONDS = 3600.0
"""The age at which an incomplete file is removed: its writer has ended."""

_HEAD = Struct("<8sII")
"""The magic, the size of the header, and the checksum of the header."""

_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}-[0-9a-f]{32}\.prefix")
_PART_NAME = re.compile(r"[0-9a-f]{16}\.prefix-part")


class StateKey(NamedTuple):
    """What the bytes of a state depend on, as hexadecimal digests of 16 characters.

    ``model`` covers the files of the model, ``settings`` the rest.
    """

    model: str
    settings: str


class Header(msgspec.Struct, array_like=True, frozen=True):
    """The header of a file. ``checksum`` is the CRC-32 of its parts, which have ``sizes`` bytes."""

    key: StateKey
    scope: str
    digest: bytes
    tokens: bytes
    sizes: list[int]
    checksum: int


class _Unusable(Exception):
    """The reason why a file is not used."""


class PrefixFiles:
    """The files of one model and its settings, in a folder that others use at the same time."""

    def __init__(self, folder: Path, key: StateKey, max_bytes: int) -> None:
        """Create the folder and find the files. All in the folder may take ``max_bytes``.

        Raises OSError, also for a folder that other users of the host can open.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
            raise PermissionError(f"{folder} must be the server's own and closed to others (0700)")
        self._folder = folder
        self._key = key
        self.max_bytes = max_bytes
        self._remove_abandoned()
        self._make_space(0)
        self._known = {path.name for path in folder.glob(f"{key.model}-{key.settings}-*.prefix")}

    def has(self, system: SystemPrefix) -> bool:
        """Return whether there is a file of a system prompt, as far as this process knows."""
        return self.name(system) in self._known

    def name(self, system: SystemPrefix) -> str:
        """Return the name of the file of a system prompt."""
        prompt = blake2b(system.scope.encode() + b"\0" + system.digest, digest_size=16)
        return f"{self._key.model}-{self._key.settings}-{prompt.hexdigest()}.prefix"

    def forget(self, system: SystemPrefix) -> None:
        """Use the file of a system prompt no more."""
        self._known.discard(self.name(system))

    def touch(self, system: SystemPrefix) -> None:
        """Note that a system prompt is used: the files that are not leave first."""
        try:
            os.utime(self._folder / self.name(system))
        except OSError:  # another process has removed it
            self.forget(system)

    def read(self, system: SystemPrefix, tokens: list[int]) -> SavedState | None:
        """Return the state of a system prompt; None without a file of these tokens.

        A file that cannot be used is removed.
        """
        path = self._folder / self.name(system)
        try:
            with path.open("rb") as file:
                state = self._state(file, system, tokens)
            os.utime(path)
        except FileNotFoundError:
            pass
        except _Unusable as error:
            log.warning("The kept system prompt %s is removed: %s", path.name, error)
            with suppress(OSError):
                path.unlink()
        except (OSError, MemoryError) as error:
            log.warning("The kept system prompt %s cannot be read: %s", path.name, error)
        else:
            return state
        self.forget(system)
        return None

    def _state(self, file: BufferedReader, system: SystemPrefix, tokens: list[int]) -> SavedState:
        """Read a state. Raises _Unusable, OSError or MemoryError."""
        header = _read_header(file)
        expected = Header(
            self._key,
            system.scope,
            system.digest,
            _packed(tokens),
            header.sizes,
            header.checksum,
        )
        if header != expected:
            raise _Unusable("it is of another model, build, setting or prompt")
        if file.tell() + sum(header.sizes) != os.fstat(file.fileno()).st_size:
            raise _Unusable("it is not complete")
        parts = [np.empty(size, np.uint8) for size in header.sizes]
        checksum = 0
        for part in parts:
            if file.readinto(part.data) != part.size:
                raise _Unusable("it is not complete")
            checksum = zlib.crc32(part.data, checksum)
        if checksum != header.checksum:
            raise _Unusable("its checksum is wrong")
        return SavedState(0, parts)

    def write(
        self, system: SystemPrefix, tokens: list[int], parts: list[NDArray[np.uint8]]
    ) -> None:
        """Write the file of a system prompt; others make space for it. Raises OSError."""
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part.data, checksum)
        sizes = [part.size for part in parts]
        header = msgspec.msgpack.encode(
            Header(self._key, system.scope, system.digest, _packed(tokens), sizes, checksum)
        )
        head = _HEAD.pack(MAGIC, len(header), zlib.crc32(header)) + header
        size = len(head) + sum(sizes)
        if size > self.max_bytes:
            return
        self._make_space(size)
        name = self.name(system)
        part_file = self._folder / f"{secrets.token_hex(8)}.prefix-part"
        try:
            # Not made durable: after a power failure the checksum shows what is missing.
            with open(part_file, "xb", opener=_private) as file:
                file.write(head)
                for part in parts:
                    file.write(part.data)
            part_file.replace(self._folder / name)
        finally:
            part_file.unlink(missing_ok=True)
        self._known.add(name)

    def _make_space(self, needed: int) -> None:
        """Remove the files that were not used for longest until ``needed`` bytes fit."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                # Other processes remove files at the same time.
                with suppress(FileNotFoundError):
                    if _NAME.fullmatch(entry.name):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total + needed <= self.max_bytes:
                break
            with suppress(FileNotFoundError):
                Path(path).unlink()
            total -= size

    def _remove_abandoned(self) -> None:
        for path in self._folder.glob("*.prefix-part"):
            with suppress(OSError):
                age = time.time() - path.stat().st_mtime
                if _PART_NAME.fullmatch(path.name) and age > ABANDONED_SECONDS:
                    path.unlink()


def _read_header(file: BufferedReader) -> Header:
    """Read the header of a file. Raises _Unusable or OSError."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise _Unusable("it is not complete")
    magic, size, checksum = _HEAD.unpack(head)
    if magic != MAGIC or size > LONGEST_HEADER:
        raise _Unusable("it has another format")
    data = file.read(size)
    if zlib.crc32(data) != checksum:
        raise _Unusable("its header is damaged")
    try:
        return msgspec.msgpack.decode(data, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _Unusable("its header has another format") from error


def _packed(tokens: list[int]) -> bytes:
    return np.asarray(tokens, "<i4").tobytes()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
