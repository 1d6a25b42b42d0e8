"""Quantizing on creation, and interrupting it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from store_models import create_model, statuses

from jupyter_ollama.api.model_views import details
from jupyter_ollama.engine import quantize
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store

Snapshot = Callable[[], dict[str, bytes]]


def test_unknown_quantization(empty_library: Library, tiny_digest: str) -> None:
    with pytest.raises(OllamaError) as caught:
        create_model(empty_library, model="a", files={"x.gguf": tiny_digest}, quantize="q4_9")
    assert caught.value.status == 400
    assert caught.value.message.startswith(
        "unsupported quantization type Q4_9 - supported types are F32, F16, Q4_0, Q4_1, Q8_0, "
    )


def test_quantize(library: Library, scratch_store: Path) -> None:
    scratch = Library(Store(scratch_store))
    blobs = set(scratch.store.blobs.iterdir())
    body = {"model": "q8", "from": "smollm2", "quantize": "q8_0"}
    lines = create_model(scratch, **body)
    assert statuses(lines) == [
        "quantizing Q4_0 model to Q8_0",
        "verifying conversion",
        "creating new layer",
        "using existing layer",
        "writing manifest",
        "success",
    ]
    progress = [line for line in lines if line["status"].startswith("quantizing")]
    assert {line["digest"] for line in progress} == {"0000000000000000000"}
    assert progress[0]["total"] == library.find("smollm2").manifest.layers[0].size
    done = [line["completed"] for line in progress]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, progress[0]["total"])
    model = scratch.find("q8")
    assert model.header.file_type == details(model)["quantization_level"] == "Q8_0"
    model.header.check_data()
    assert statuses(create_model(scratch, **body | {"from": "q8", "model": "same"}))[0] == (
        "using existing layer"
    )
    scratch.delete("q8")
    scratch.delete("same")
    assert set(scratch.store.blobs.iterdir()) == blobs


def test_quantizing_a_model_that_llama_cpp_refuses(
    empty_library: Library, tiny_digest: str, snapshot: Snapshot
) -> None:
    before = snapshot()
    with pytest.raises(OllamaError, match="quantize failed: ") as caught:
        create_model(empty_library, model="a", files={"x.gguf": tiny_digest}, quantize="Q8_0")
    assert caught.value.status == 500
    assert "key not found" in caught.value.message
    assert snapshot() == before


def test_given_up_during_quantization(
    scratch_store: Path, children: Callable[[], list[psutil.Process]]
) -> None:
    files = {path for path in scratch_store.rglob("*") if path.suffix != ".lock"}
    request = CreateRequest(model="q", from_="smollm2", quantize="Q6_K")
    lines = create(Store(scratch_store), request, quantize.run)
    while not next(lines).get("completed"):
        pass
    (child,) = children()
    lines.close()
    assert not child.is_running()
    left = {path for path in scratch_store.rglob("*") if path.suffix != ".lock"}
    assert {path for path in left - files if path.is_file()} == set()
    assert files <= left


SERVER = """
import sys
from pathlib import Path
from jupyter_ollama.engine import quantize
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library
request = CreateRequest(model="q", from_="smollm2", quantize="Q6_K")
for line in create(Library.open(sys.argv[1]).store, request, quantize.run):
    print(line, flush=True)
"""


def test_killed_during_quantization(scratch_store: Path) -> None:
    blobs = {path.name for path in (scratch_store / "blobs").iterdir() if path.is_file()}
    command = [sys.executable, "-c", SERVER, str(scratch_store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if "'completed': " in line and "'completed': 0" not in line:
                break
        (child,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.05)
    library = Library.open(scratch_store)
    assert {path.name for path in library.store.blobs.iterdir() if path.is_file()} == blobs
    assert not list(scratch_store.rglob("*.tmp"))
    with pytest.raises(OllamaError, match="not found"):
        library.find("q")
