"""Stores on full or read-only disks: clear errors, and no leftovers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from small_disk import MIB, Disk, small_disk
from store_models import create_model
from tiny_checkpoint import write_checkpoint
from tiny_gguf import write_gguf

from jupyter_ollama.api.model_views import show
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import disk_errors as disks
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store

FULL = "no space left on device. Delete models or other files there, or keep models elsewhere"
READ_ONLY = "read-only file system. Mount it for writing, or keep models elsewhere"


@pytest.fixture(params=["mounted", "made up"])
def disk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Disk]:
    """A disk of 2 MiB, mounted or simulated."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "made up":
            patch.setattr(os, "geteuid", lambda: 1)
        with small_disk(tmp_path / "disk", 2 * MIB, patch) as disk:
            yield disk


@pytest.fixture
def library(disk: Disk, tmp_path: Path) -> Library:
    """A library on that disk with the model "tiny"."""
    library = Library.open(disk.path / "models")
    data = write_gguf(tmp_path / "tiny.gguf", general__file_type=1).read_bytes()
    create_model(library, model="tiny", files={"tiny.gguf": library.store.add_blob(data).digest})
    return library


def temporary(store: Store) -> list[str]:
    return [path.name for path in store.root.rglob("*.tmp")]


def refused(library: Library, work: Any) -> str:
    """Return the message of the error that an action raises."""
    with pytest.raises(OllamaError) as caught:
        work()
    assert caught.value.status == 500
    assert str(library.store.root) not in caught.value.message
    return caught.value.message


def test_a_full_disk(disk: Disk, library: Library) -> None:
    store = library.store
    store.blobs.joinpath(".jupyter-ollama").mkdir(exist_ok=True)
    before = {path for path in store.root.rglob("*") if path.suffix != ".loose"}
    disk.fill()

    def upload() -> None:
        with store.blob_writer("sha256:" + "0" * 64) as writer:
            for _ in range(100):
                writer.write(b"x" * 100_000)
            writer.commit()

    for work, what in (
        (upload, "blob sha256:" + "0" * 64),
        (lambda: store.add_blob(b"x" * 100_000), ""),
        (lambda: create_model(library, model="b", **{"from": "tiny"}, system="x" * 100_000), ""),
        (lambda: library.copy("tiny", "copied"), "the manifest of model 'copied:latest'"),
    ):
        message = refused(library, work)
        assert message.startswith(f"cannot write {what}")
        assert message.endswith(f" to the folder of the models: {FULL} (OLLAMA_MODELS)")
        assert temporary(store) == []
    assert {path for path in store.root.rglob("*") if path.suffix != ".loose"} == before
    assert show(library.find("tiny"))["details"]["family"] == "llama"
    disk.free()
    library.copy("tiny", "copied")
    assert len(library.list()) == 2


def test_a_disk_that_gets_full_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1}
    write_checkpoint(folder, "llama", **sizes, num_attention_heads=4, num_key_value_heads=4)
    for means in ("mounted", "made up"):
        with monkeypatch.context() as patch:
            if means == "made up":
                patch.setattr(os, "geteuid", lambda: 1)
            with small_disk(tmp_path / means, 8 * MIB, patch) as disk:
                library = Library.open(disk.path / "models")
                files = {
                    path.name: library.store.add_blob(path.read_bytes()).digest
                    for path in folder.iterdir()
                }
                create_model(library, model="wide", files=files)
                disk.fill(left=16384)
                work: dict[str, dict[str, Any]] = {
                    "convert": {"files": files},
                    "quantize": {"from": "wide", "quantize": "q8_0"},
                }
                for name, body in work.items():
                    message = refused(library, partial(create_model, library, model="new", **body))
                    assert message == (
                        f"cannot write the output of {name} to the folder of the models: {FULL} "
                        "(OLLAMA_MODELS)"
                    )
                    assert temporary(library.store) == []
                assert [model.name.model for model in library.list()] == ["wide"]


def test_a_full_disk_can_be_made_space_on(disk: Disk, library: Library) -> None:
    disk.fill()
    library.delete("tiny")
    assert library.list() == []


def test_a_read_only_disk(disk: Disk, library: Library) -> None:
    store = library.store
    disk.make_read_only()
    for work in (
        lambda: store.add_blob(b"x"),
        lambda: create_model(library, model="b", **{"from": "tiny"}, system="x"),
        lambda: library.copy("tiny", "copied"),
        lambda: library.delete("tiny"),
    ):
        message = refused(library, work)
        assert message.startswith("cannot write ")
        assert message.endswith(f" to the folder of the models: {READ_ONLY}")
    again = Library.open(store.root)
    assert show(again.find("tiny"))["details"]["family"] == "llama"
    assert [model.name.model for model in again.list()] == ["tiny"]
    with again.store.holding() as hold:  # as a push does
        hold(again.find("tiny").manifest.layers[0].digest)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "no space left on device. Delete"),
        (errno.EDQUOT, "disk quota exceeded. Delete"),
        (errno.EROFS, "read-only file system. Mount"),
        (errno.EACCES, "permission denied. Let the server's user write there"),
        (errno.EPERM, "operation not permitted. Let the server's user write there"),
        (errno.EIO, "input/output error. The disk may be damaged"),
        (errno.EFBIG, "file too large. The file system or a limit"),
        (errno.ENOTDIR, "Not a directory"),
    ],
)
def test_words_for_each_error(caplog: pytest.LogCaptureFixture, number: int, text: str) -> None:
    error = OSError(number, os.strerror(number), "/srv/models/blobs/x")
    made = disks.explained(error, "blob x")
    assert (made.status, "/srv" in made.message) == (500, False)
    assert made.message.startswith(f"cannot write blob x to the folder of the models: {text}")
    assert "/srv/models/blobs/x" in caplog.text


def test_disk_errors_in_the_output_of_a_process() -> None:
    found = disks.disk_error_of("OSError: [Errno 28] No space left on device: '/srv/x'")
    assert found
    assert found.errno == errno.ENOSPC
    found = disks.disk_error_of("write failed: Read-only file system")
    assert found
    assert found.errno == errno.EROFS
    assert disks.disk_error_of("KeyError: 28") is None
    assert disks.disk_error_of("[Errno 2] No such file") is None
