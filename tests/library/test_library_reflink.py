"""Files of users that share their bytes with the store on a file system with reflinks."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_extents import are_reflinks, extents
from jupyter_ollama_client.client import Client
from jupyter_ollama_client.errors import OllamaConnectionError
from small_disk import MIB, Disk, reflink_disk
from store_models import create_model, store_files
from tiny_gguf import write_gguf

from jupyter_ollama.cli.upload import SharingUploader
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import blob
from jupyter_ollama.library.check import Needs, faults
from jupyter_ollama.library.library import Library

WEIGHTS = 32 * MIB


def free_bytes(disk: Disk) -> int:
    """Return the free space after everything is written."""
    os.sync()
    status = os.statvfs(disk.path)
    return status.f_bavail * status.f_frsize


class StoreClient(Client):
    """A client of a server that has the library's store. Nothing may be sent to it."""

    def __init__(self, library: Library) -> None:
        super().__init__("http://127.0.0.1:1")
        self._library = library

    def has_blob(self, digest: str) -> bool:
        return self._library.store.has_blob(digest)

    def send_blob(self, path: Any, digest: str, *rest: Any) -> None:
        assert self.has_blob(digest), "the file is sent, not shared"


class AwayClient(StoreClient):
    """A client of a server that has stopped."""

    def has_blob(self, digest: str) -> bool:
        raise OllamaConnectionError("http://127.0.0.1:1", "refused")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with reflink_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def library(disk: Disk) -> Library:
    return Library.open(disk.path / "models")


@pytest.fixture
def file(disk: Disk) -> Path:
    """A GGUF of 32 MiB on the disk, which its user may change."""
    path = write_gguf(disk.path / "weights.gguf", general__file_type=1)
    with path.open("ab") as opened:
        opened.write(os.urandom(WEIGHTS))
    return path


def uploader(client: StoreClient, library: Library, show: Any = lambda step: None) -> Any:
    return SharingUploader(client, library.store.root, False, show)


def damaged(library: Library) -> list[Any]:
    return list(faults(library.store, Needs(library.store, library.store.names()), lambda n: None))


def test_a_model_shares_the_bytes_of_its_users_file(
    disk: Disk, library: Library, file: Path
) -> None:
    before = free_bytes(disk)
    digest = uploader(StoreClient(library), library).upload(file)
    create_model(library, model="mine", files={file.name: digest})
    assert before - free_bytes(disk) < 2 * MIB
    stored = library.find("mine").model_path
    assert are_reflinks(stored, file)

    with file.open("r+b") as opened:
        opened.write(b"changed in place")
        opened.seek(WEIGHTS // 2)
        opened.write(b"here too")
    assert damaged(library) == []
    changed = hashlib.sha256(file.read_bytes()).hexdigest()
    library.delete("mine")
    assert store_files(library.store) == {}
    assert hashlib.sha256(file.read_bytes()).hexdigest() == changed
    assert not any(extent.shared for extent in extents(file))


def test_the_blob_outlives_the_file(library: Library, file: Path) -> None:
    digest = uploader(StoreClient(library), library).upload(file)
    create_model(library, model="mine", files={file.name: digest})
    file.unlink()
    assert damaged(library) == []


def test_a_file_that_is_shared_twice_takes_no_space(
    disk: Disk, library: Library, file: Path
) -> None:
    one = uploader(StoreClient(library), library)
    digest = one.upload(file)
    before, files = free_bytes(disk), store_files(library.store).keys()
    assert one.upload(file) == digest
    assert store_files(library.store).keys() == files
    assert before - free_bytes(disk) < MIB


def test_nothing_is_left_if_the_server_is_away(disk: Disk, library: Library, file: Path) -> None:
    before = free_bytes(disk)
    with pytest.raises(OllamaConnectionError):
        uploader(AwayClient(library), library).upload(file)
    assert store_files(library.store) == {}
    assert before - free_bytes(disk) < MIB
    assert not any(extent.shared for extent in extents(file))


def test_nothing_is_left_of_an_interrupted_upload(library: Library, file: Path) -> None:
    def interrupt(step: dict[str, Any]) -> None:
        if step["completed"] > WEIGHTS // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        uploader(StoreClient(library), library, interrupt).upload(file)
    assert store_files(library.store) == {}


def test_nothing_is_left_if_the_blob_cannot_get_its_name(
    library: Library, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(temp: Any, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(blob.TempFile, "rename", full)
    with pytest.raises(OllamaError, match="no space left on device"):
        uploader(StoreClient(library), library).upload(file)
    assert [name for name in store_files(library.store) if not name.endswith(".loose")] == []


def test_a_full_disk_has_space_for_a_shared_file(disk: Disk, library: Library, file: Path) -> None:
    disk.fill()
    digest = uploader(StoreClient(library), library).upload(file)
    assert are_reflinks(library.store.blob_path(digest), file)


def test_a_file_of_another_disk_is_sent(library: Library, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "elsewhere.gguf", general__file_type=1)
    with pytest.raises(AssertionError, match="sent, not shared"):
        uploader(StoreClient(library), library).upload(file)
    assert store_files(library.store) == {}
