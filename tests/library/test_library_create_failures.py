"""Failed and interrupted creations leave the store unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from store_models import create_model
from tiny_gguf import write_gguf

from jupyter_ollama.engine import quantize
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library

Snapshot = Callable[[], dict[str, bytes]]
ABSENT = "sha256:" + "0" * 64


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
        create_model(empty_library, **({"model": "new", "system": "text of a new layer"} | body))
    assert (caught.value.status, caught.value.message) == (status, message)
    assert snapshot() == before


def test_bad_template(empty_library: Library, tiny_digest: str, snapshot: Snapshot) -> None:
    before = snapshot()
    with pytest.raises(OllamaError, match="template error: ") as caught:
        create_model(empty_library, model="a", files={"x.gguf": tiny_digest}, template="{{ if }}")
    assert caught.value.status == 400
    assert snapshot() == before


def test_a_creation_given_up_at_any_step_leaves_nothing(
    empty_library: Library, tiny_digest: str, snapshot: Snapshot
) -> None:
    create_model(empty_library, model="a", files={"x.gguf": tiny_digest}, system="first")
    before = snapshot()
    request = CreateRequest(
        model="a", files={"x.gguf": tiny_digest}, system="second", license="new licence"
    )
    for steps in range(5):
        lines = create(empty_library.store, request, quantize.run)
        for _ in range(steps):
            next(lines)
        lines.close()
        assert snapshot() == before
    assert len(create_model(empty_library, **msgspec.to_builtins(request))) == 6
    assert empty_library.find("a").system == "second"


def test_a_delete_meanwhile_does_not_break_the_new_model(
    empty_library: Library, tiny_digest: str
) -> None:
    create_model(empty_library, model="base", files={"x.gguf": tiny_digest}, system="s")
    request = CreateRequest(model="child", from_="base")
    lines = create(empty_library.store, request, quantize.run)
    next(lines)
    empty_library.delete("base")
    list(lines)
    child = empty_library.find("child")
    assert child.system == "s"
    assert child.header.architecture == "llama"


def test_a_given_up_creation_removes_blobs_deleted_meanwhile(
    empty_library: Library, tiny_digest: str, snapshot: Snapshot
) -> None:
    create_model(empty_library, model="base", files={"x.gguf": tiny_digest}, system="s")
    request = CreateRequest(model="child", from_="base")
    lines = create(empty_library.store, request, quantize.run)
    next(lines)
    empty_library.delete("base")
    lines.close()
    assert snapshot() == {}
