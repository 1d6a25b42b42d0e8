"""Making models in every way, and leaving nothing behind when it fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tiny_gguf import write_gguf

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.create import CreateRequest
from jupyter_ollama.library.model import Library
from jupyter_ollama.library.store import Store

Snapshot = Callable[[], dict[str, bytes]]
ABSENT = "sha256:" + "0" * 64


def create(library: Library, **body: Any) -> list[dict[str, Any]]:
    """Create a model of a body as it comes over the wire."""
    return list(library.create(msgspec.convert(body, CreateRequest)))


def statuses(lines: list[dict[str, Any]]) -> list[str]:
    """The status texts, digests shortened, repeated lines once."""
    texts = [line["status"].split(" sha256:")[0] for line in lines]
    return [text for index, text in enumerate(texts) if texts[index - 1 : index] != [text]]


def test_from_a_gguf(empty_library: Library, tiny_digest: str) -> None:
    lines = create(empty_library, model="Tiny:a", files={"dir/tiny.gguf": tiny_digest})
    assert lines == [
        {"status": "parsing GGUF"},
        {"status": f"using existing layer {tiny_digest}"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    model = empty_library.find("tiny:a")
    assert model.config.model_format == "gguf"
    assert model.config.model_families == ["llama"]
    assert model.parent_model == "dir/tiny.gguf"
    assert model.template is None


def test_name_of_the_old_field_and_no_extension(empty_library: Library, tiny_digest: str) -> None:
    create(empty_library, name="tiny", files={"weights": tiny_digest}, unknown=1)
    assert empty_library.find("tiny")


def test_existing_casing_is_kept(empty_library: Library, tiny_digest: str) -> None:
    create(empty_library, model="Tiny", files={"x.gguf": tiny_digest})
    create(empty_library, model="tiny", files={"x.gguf": tiny_digest}, system="new")
    assert [model.name.display for model in empty_library.list()] == ["Tiny:latest"]


def test_layers_of_every_kind(empty_library: Library, tiny_digest: str) -> None:
    lines = create(
        empty_library,
        model="a",
        files={"x.gguf": tiny_digest},
        template="{{ .Prompt }}",
        system="sys",
        license="MIT",
        parameters={"temperature": 1, "stop": "x", "low_vram": True, "num_ctx": None, "odd": [1]},
        messages=[{"role": "user", "content": "q"}],
    )
    assert statuses(lines) == [
        "parsing GGUF",
        "using existing layer",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    store = empty_library.store
    model = empty_library.find("a")
    written = json.loads(store.read_manifest_bytes(model.name))
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in written["layers"]]
    assert kinds == ["model", "template", "system", "license", "params", "messages"]
    params, messages = (store.blob_path(layer["digest"]) for layer in written["layers"][-2:])
    assert params.read_bytes() == b'{"odd":[1],"stop":["x"],"temperature":1}\n'
    assert messages.read_bytes() == b'[{"role":"user","content":"q"}]\n'


def test_from_a_model(empty_library: Library, tiny_digest: str) -> None:
    create(
        empty_library,
        model="base",
        files={"x.gguf": tiny_digest},
        template="{{ .Prompt }} one",
        system="one",
        license="MIT",
        parameters={"temperature": 0.5, "top_k": 3},
        messages=[{"role": "user", "content": "q"}],
        renderer="r",
        parser="p",
    )
    lines = create(
        empty_library,
        **{"model": "child", "from": "BASE", "system": "two", "license": ["MIT", "Apache"]},
        parameters={"temperature": 0.7},
        parser="other",
    )
    assert statuses(lines) == [
        "using existing layer",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    base, child = empty_library.find("base"), empty_library.find("child")
    assert child.model_path == base.model_path
    assert child.parent_model == "base:latest"
    assert (child.template, child.system) == ("{{ .Prompt }} one", "two")
    assert child.params == {"temperature": 0.7, "top_k": 3}
    assert child.licenses == ["MIT", "Apache"]
    assert child.messages == base.messages
    assert (child.config.renderer, child.config.parser) == ("r", "other")
    empty_library.delete("base")
    assert empty_library.find("child").show()["license"] == "MIT\nApache"


def test_onto_itself(empty_library: Library, tiny_digest: str) -> None:
    create(empty_library, model="a", files={"x.gguf": tiny_digest}, system="old system")
    old = empty_library.find("a").manifest.layers[1].digest
    create(empty_library, **{"model": "a", "from": "a", "system": "new"})
    assert empty_library.find("a").system == "new"
    assert not empty_library.store.has_blob(old)


def test_adapter_and_projector(empty_library: Library, tiny_digest: str, tmp_path: Path) -> None:
    store = empty_library.store
    digests = {}
    for name, kind in (("lora", "adapter"), ("mm", "mmproj")):
        path = write_gguf(tmp_path / name, general__type=kind)
        digests[name] = store.add_blob(path.read_bytes()).digest
    create(
        empty_library,
        model="a",
        files={"m.gguf": tiny_digest, "mm.gguf": digests["mm"]},
        adapters={"lora.gguf": digests["lora"]},
    )
    model = empty_library.find("a")
    assert model.adapter_paths == [store.blob_path(digests["lora"])]
    assert model.projector_paths == [store.blob_path(digests["mm"])]
    assert model.capabilities == ["completion", "vision"]


def test_info(empty_library: Library, tiny_digest: str) -> None:
    info = {"model_family": "fam", "context_length": 77.0, "capabilities": ["tools"]}
    create(empty_library, model="a", files={"x.gguf": tiny_digest}, info=info)
    config = empty_library.find("a").config
    assert config.model_families == ["fam", "llama"]
    assert config.context_length == 77
    assert config.capabilities == ["tools"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": ""}, 400, "invalid model name"),
        ({"model": "../x"}, 400, "invalid model name"),
        ({}, 400, "neither 'from' or 'files' was specified"),
        ({"files": {}}, 400, "no files provided to convert"),
        ({"files": {"/x.gguf": ABSENT}}, 400, "file path must be relative"),
        ({"files": {"../x.gguf": ABSENT}}, 400, "file path must be relative"),
        ({"files": {"a/../../x.gguf": ABSENT}}, 400, "file path must be relative"),
        ({"files": {"C:\\x.gguf": ABSENT}}, 400, "file path must be relative"),
        ({"files": {"C:/x.gguf": ABSENT}}, 400, "file path must be relative"),
        ({"files": {"": ABSENT}}, 400, "file path must be relative"),
        ({"adapters": {"../x.gguf": ABSENT}}, 400, "file path must be relative"),
        ({"files": {"x.gguf": ""}}, 400, "invalid digest format"),
        ({"files": {"x.gguf": "sha256:../../x"}}, 400, "invalid digest format"),
        ({"files": {"x.gguf": ABSENT}}, 400, f"blob not found for x.gguf (digest {ABSENT})"),
        ({"files": {"x.gguf": "text"}}, 400, "supplied file was not in GGUF format"),
        ({"files": {"x.txt": "text"}}, 400, "unknown type"),
        (
            {"files": {"x.gguf": "cut"}},
            400,
            "invalid GGUF file x.gguf: the file ends before the data of tensor output_norm.weight",
        ),
        ({"files": {"x.gguf": "adapter"}}, 400, "no model was found in the files"),
        (
            {"files": {"x.gguf": "split"}},
            400,
            "part 2 of 2 is missing: all parts of a split GGUF are needed",
        ),
        (
            {"files": {"m-00001-of-00002.gguf": "split"}},
            400,
            "m-00002-of-00002.gguf is missing: all parts of a split GGUF are needed",
        ),
        (
            {"files": {"x.gguf": "tiny"}, "adapters": {"a.gguf": "adapter", "b.gguf": "adapter"}},
            400,
            "only one adapter is currently supported",
        ),
        (
            {"files": {"x.gguf": "tiny"}, "adapters": {"a.gguf": "tiny"}},
            400,
            "a.gguf is not an adapter",
        ),
        (
            {"files": {"x.gguf": "tiny"}, "adapters": {"a.safetensors": "text"}},
            400,
            "adapter_config.json is missing",
        ),
        (
            {"files": {"n" * 300 + ".safetensors": "text"}},
            400,
            "n" * 300 + ".safetensors cannot be a file name: File name too long",
        ),
        (
            {"files": {"x.safetensors": "text", "x.safetensors/config.json": "text"}},
            400,
            "x.safetensors/config.json cannot be a file name: File exists",
        ),
        ({"from": "a b"}, 400, "invalid model name"),
        ({"from": "nothing"}, 404, "model 'nothing' not found"),
        ({"from": "x", "remote_host": "h"}, 400, "bad remote"),
        (
            {"files": {"x.gguf": "tiny"}, "parameters": {"num_ctx": "x"}},
            400,
            'option "num_ctx" must be of type integer',
        ),
        (
            {"files": {"x.gguf": "tiny"}, "info": {"model_family": 1}},
            400,
            'info field "model_family" must be a string',
        ),
        (
            {"files": {"x.gguf": "tiny"}, "info": {"context_length": "1"}},
            400,
            'info field "context_length" must be a number',
        ),
        (
            {"files": {"x.gguf": "tiny"}, "info": {"embedding_length": -1}},
            400,
            'info field "embedding_length" must be a non-negative integer',
        ),
    ],
)
def test_errors_change_nothing(
    empty_library: Library,
    tiny_digest: str,
    tmp_path: Path,
    snapshot: Snapshot,
    body: dict[str, Any],
    status: int,
    message: str,
) -> None:
    tiny = empty_library.store.blob_path(tiny_digest).read_bytes()
    adapter = write_gguf(tmp_path / "a", general__type="adapter").read_bytes()
    split = write_gguf(tmp_path / "s", split__count=2).read_bytes()
    contents = {
        "tiny": tiny,
        "cut": tiny[:-64],
        "adapter": adapter,
        "split": split,
        "text": b"text",
    }
    digests = {key: empty_library.store.add_blob(data).digest for key, data in contents.items()}
    for field in ("files", "adapters"):
        if field in body:
            body = body | {field: {k: digests.get(v, v) for k, v in body[field].items()}}
    before = snapshot()
    with pytest.raises(OllamaError) as caught:
        create(empty_library, **({"model": "new", "system": "text of a new layer"} | body))
    assert (caught.value.status, caught.value.message) == (status, message)
    assert snapshot() == before


def test_bad_template(empty_library: Library, tiny_digest: str, snapshot: Snapshot) -> None:
    before = snapshot()
    with pytest.raises(OllamaError, match="template error: ") as caught:
        create(empty_library, model="a", files={"x.gguf": tiny_digest}, template="{{ if }}")
    assert caught.value.status == 400
    assert snapshot() == before


def test_unknown_quantization(empty_library: Library, tiny_digest: str) -> None:
    with pytest.raises(OllamaError) as caught:
        create(empty_library, model="a", files={"x.gguf": tiny_digest}, quantize="q4_9")
    assert caught.value.status == 400
    assert caught.value.message.startswith(
        "unsupported quantization type Q4_9 - supported types are F32, F16, Q4_0, Q4_1, Q8_0, "
    )


def test_every_place_to_give_up_leaves_nothing(
    empty_library: Library, tiny_digest: str, snapshot: Snapshot
) -> None:
    create(empty_library, model="a", files={"x.gguf": tiny_digest}, system="first")
    before = snapshot()
    request = CreateRequest(
        model="a", files={"x.gguf": tiny_digest}, system="second", license="new licence"
    )
    for steps in range(5):
        lines = empty_library.create(request)
        for _ in range(steps):
            next(lines)
        lines.close()  # type: ignore[attr-defined]
        assert snapshot() == before
    assert len(create(empty_library, **msgspec.to_builtins(request))) == 6
    assert empty_library.find("a").system == "second"


def test_a_delete_meanwhile_does_not_break_the_new_model(
    empty_library: Library, tiny_digest: str
) -> None:
    create(empty_library, model="base", files={"x.gguf": tiny_digest}, system="s")
    lines = empty_library.create(CreateRequest(model="child", from_="base"))
    next(lines)
    empty_library.delete("base")
    list(lines)
    child = empty_library.find("child")
    assert child.system == "s"
    assert child.header.architecture == "llama"


def test_a_given_up_creation_frees_what_was_deleted_meanwhile(
    empty_library: Library, tiny_digest: str, snapshot: Snapshot
) -> None:
    create(empty_library, model="base", files={"x.gguf": tiny_digest}, system="s")
    lines = empty_library.create(CreateRequest(model="child", from_="base"))
    next(lines)
    empty_library.delete("base")
    lines.close()  # type: ignore[attr-defined]
    assert snapshot() == {}


def test_quantize(library: Library, scratch_store: Path) -> None:
    scratch = Library(Store(scratch_store))
    blobs = set(scratch.store.blobs.iterdir())
    body = {"model": "q8", "from": "smollm2", "quantize": "q8_0"}
    lines = create(scratch, **body)
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
    assert model.header.file_type == model.details()["quantization_level"] == "Q8_0"
    model.header.check_data()
    assert statuses(create(scratch, **body | {"from": "q8", "model": "same"}))[0] == (
        "using existing layer"
    )
    scratch.delete("q8")
    scratch.delete("same")
    assert set(scratch.store.blobs.iterdir()) == blobs


def test_quantizing_what_llama_cpp_refuses(
    empty_library: Library, tiny_digest: str, snapshot: Snapshot
) -> None:
    before = snapshot()
    with pytest.raises(OllamaError, match="quantize failed: ") as caught:
        create(empty_library, model="a", files={"x.gguf": tiny_digest}, quantize="Q8_0")
    assert caught.value.status == 500
    assert "key not found" in caught.value.message
    assert snapshot() == before


def test_given_up_during_quantization(
    scratch_store: Path, children: Callable[[], list[psutil.Process]]
) -> None:
    files = {path for path in scratch_store.rglob("*") if path.suffix != ".lock"}
    lines = Library(Store(scratch_store)).create(
        CreateRequest(model="q", from_="smollm2", quantize="Q6_K")
    )
    while not next(lines).get("completed"):
        pass
    (child,) = children()
    lines.close()  # type: ignore[attr-defined]
    assert not child.is_running()
    left = {path for path in scratch_store.rglob("*") if path.suffix != ".lock"}
    assert {path for path in left - files if path.is_file()} == set()
    assert files <= left


SERVER = """
import sys
from pathlib import Path
from jupyter_ollama.library.create import CreateRequest
from jupyter_ollama.library.model import Library
request = CreateRequest(model="q", from_="smollm2", quantize="Q6_K")
for line in Library.open(sys.argv[1]).create(request):
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
