"""Loaded models follow the library: one that has lost its last name is unloaded."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from api_client import Fetch, answer, fetcher, generate, wait_until
from peers import faulty_registry

from jupyter_ollama.api.listener import listen
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.library.library import Library
from jupyter_ollama.scheduler import library_watch

Children = Callable[[], list[psutil.Process]]
FOR_EVER = {"keep_alive": -1}


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


async def embed(fetch: Fetch, model: str = "all-minilm", **fields: Any) -> None:
    """Load a model, by default one that loads fast, and keep it."""
    await answer(fetch, "/api/embed", {"model": model, "input": "a"} | FOR_EVER | fields)


async def listed(fetch: Fetch) -> list[str]:
    """Return the names that /api/ps shows."""
    response = await fetch("GET", "/api/ps")
    assert response.code == 200
    return [model["name"] for model in json.loads(response.body)["models"]]


async def change(fetch: Fetch, method: str, path: str, **body: Any) -> None:
    """Make a change of the library that succeeds."""
    response = await fetch(method, path, body)
    assert response.code == 200, response.body
    assert b'"error"' not in response.body


async def stop(fetch: Fetch, model: str) -> int:
    """Unload a model as `jupyter ollama stop` does, and return the status."""
    body = {"model": model, "keep_alive": 0, "stream": False}
    code: int = (await fetch("POST", "/api/generate", body)).code
    return code


def other_weights(library: Library) -> str:
    """Store the weights of all-minilm as another file, and return its digest."""
    weights = library.find("all-minilm").model_path.read_bytes()
    return library.store.add_blob(weights + b"\0").digest


@asynccontextmanager
async def serving(models_dir: Path, **traits: Any) -> AsyncIterator[Fetch]:
    """Serve with settings of a test."""
    server = OllamaServer(models_dir=str(models_dir), **traits)
    http_server = listen(server, "127.0.0.1:0")
    port = next(iter(http_server._sockets.values())).getsockname()[1]
    try:
        yield fetcher(f"http://127.0.0.1:{port}", {})
    finally:
        http_server.stop()
        await server.stop()


async def test_a_deleted_model_is_unloaded(either: Fetch, children: Children) -> None:
    await embed(either)
    assert len(children()) == 1
    await change(either, "DELETE", "/api/delete", model="all-minilm")
    await wait_until(lambda: not children())
    assert await listed(either) == []


async def test_requests_of_a_deleted_model_end_first(standalone: Fetch, children: Children) -> None:
    options = {"temperature": 0, "num_predict": 100, "num_ctx": 512}
    body = generate(options=options, **FOR_EVER)
    began = asyncio.Event()
    answering = asyncio.create_task(
        standalone("POST", "/api/generate", body, streaming_callback=lambda _: began.set())
    )
    await began.wait()
    await change(standalone, "DELETE", "/api/delete", model="smollm2")
    assert await listed(standalone) == ["smollm2:latest"], "it still runs"
    assert await stop(standalone, "smollm2") == 200, "and can still be named"
    assert not answering.done()
    assert (await answering).code == 200
    await wait_until(lambda: not children())
    assert await stop(standalone, "smollm2") == 404


async def test_create_with_other_weights_replaces_the_runner(
    standalone: Fetch, ollama_server: OllamaServer, children: Children
) -> None:
    await embed(standalone)
    (before,) = children()
    files = {"model.gguf": other_weights(ollama_server.library)}
    await change(standalone, "POST", "/api/create", model="all-minilm", files=files)
    await wait_until(lambda: not children())
    assert await listed(standalone) == []
    await embed(standalone)
    (after,) = children()
    assert after.pid != before.pid


async def test_create_with_the_same_weights_keeps_the_runner(
    standalone: Fetch, children: Children
) -> None:
    await embed(standalone)
    (before,) = children()
    await change(
        standalone, "POST", "/api/create", model="all-minilm", **{"from": "all-minilm"}, system="x"
    )
    (loaded,) = json.loads((await standalone("GET", "/api/ps")).body)["models"]
    models = json.loads((await standalone("GET", "/api/tags")).body)["models"]
    assert loaded["digest"] in [model["digest"] for model in models]
    assert children() == [before]


async def test_a_pull_that_replaces_a_model_unloads_it(
    standalone: Fetch, ollama_server: OllamaServer, children: Children
) -> None:
    weights = ollama_server.library.find("all-minilm").model_path.read_bytes()
    with faulty_registry() as registry:
        name = f"http://{registry.host}/me/tiny"
        for version in b"\1", b"\2":
            registry.publish("me/tiny", weights + version)
            await change(standalone, "POST", "/api/pull", model=name, insecure=True)
            await wait_until(lambda: not children())
            await embed(standalone, f"{registry.host}/me/tiny")


async def test_a_model_stays_while_another_name_leads_to_it(
    standalone: Fetch, children: Children
) -> None:
    await embed(standalone)
    await change(standalone, "POST", "/api/copy", source="all-minilm", destination="b")
    await change(standalone, "DELETE", "/api/delete", model="all-minilm")
    assert await listed(standalone) == ["b:latest"]
    assert len(children()) == 1
    assert await stop(standalone, "all-minilm") == 404
    assert await stop(standalone, "b") == 200
    await wait_until(lambda: not children())


@pytest.mark.parametrize("form", ["{}", "sha256:{}", "{:.12}"])
async def test_stop_takes_any_name_and_digest(
    standalone: Fetch, children: Children, form: str
) -> None:
    await change(standalone, "POST", "/api/create", model="b", **{"from": "all-minilm"}, system="x")
    models = json.loads((await standalone("GET", "/api/tags")).body)["models"]
    digests = {model["name"]: model["digest"] for model in models}
    assert digests["b:latest"] != digests["all-minilm:latest"]
    for name in "all-minilm", "b":
        await embed(standalone)
        assert await stop(standalone, form.format(digests[f"{name}:latest"])) == 200
        await wait_until(lambda: not children())
    assert await stop(standalone, form.format("0" * 64)) == 404


@pytest.mark.parametrize("seen_by", ["ps", "time", "load"])
async def test_changes_by_another_server(
    standalone: Fetch,
    models_dir: Path,
    children: Children,
    monkeypatch: pytest.MonkeyPatch,
    seen_by: str,
) -> None:
    if seen_by == "time":
        monkeypatch.setattr(library_watch, "INTERVAL", 0.1)
    await embed(standalone)
    (before,) = children()
    Library.open(models_dir).delete("all-minilm")
    if seen_by == "ps":
        assert await listed(standalone) == []
    elif seen_by == "load":
        await answer(standalone, "/api/generate", generate(stream=False))
    await wait_until(lambda: before not in children())


async def test_a_pinned_model_that_is_deleted_is_unloaded(
    scratch_store: Path, children: Children
) -> None:
    async with serving(scratch_store, pinned_models=["all-minilm"]) as fetch:
        await embed(fetch)
        assert await stop(fetch, "all-minilm") == 200
        assert await listed(fetch) == ["all-minilm:latest"], "it is pinned"
        await change(fetch, "POST", "/api/copy", source="all-minilm", destination="b")
        await change(fetch, "DELETE", "/api/delete", model="all-minilm")
        assert await listed(fetch) == ["b:latest"]
        assert await stop(fetch, "b") == 200
        await wait_until(lambda: not children())


@pytest.mark.parametrize("removed", [True, False])
async def test_a_file_that_vanishes_or_changes(
    scratch_store: Path, tmp_path: Path, children: Children, removed: bool
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    file = folder / "tiny.gguf"
    shutil.copy(Library.open(scratch_store).find("all-minilm").model_path, file)
    async with serving(scratch_store, model_folders=[str(folder)]) as fetch:
        await embed(fetch, "tiny")
        (before,) = children()
        if removed:
            file.unlink()
            assert await stop(fetch, "tiny") == 200, "it is still loaded"
        else:
            with file.open("ab") as end:
                end.write(b"\0")
        assert await listed(fetch) == []
        await wait_until(lambda: not children())
        if not removed:
            await embed(fetch, "tiny")
            assert children() != [before]


async def test_a_manifest_that_cannot_be_read_unloads_nothing(
    standalone: Fetch, scratch_store: Path, children: Children
) -> None:
    await embed(standalone)
    path = scratch_store / "manifests/registry.ollama.ai/library/all-minilm/latest"
    os.unlink(path)  # noqa: PTH108 (it is a hard link to the file of another store)
    path.write_text("{")
    assert await listed(standalone) == ["all-minilm:latest"]
    assert len(children()) == 1
