"""Pull and push through the API of a server, by HTTP, by command line, in a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_process import Served, Terminal, serving
from peers import FaultyRegistry, digest_of, dripping, status
from store_models import store_files

from jupyter_ollama._version import OLLAMA_API_VERSION
from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store

WEIGHTS = os.urandom(300_000)
Ask = Callable[..., httpx2.Response]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a server and of commands, without settings of the user."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = tmp_path_factory.mktemp("home")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("OLLAMA_", "JUPYTER", "JPY_"))}
    return {**kept, "PATH": path, "HOME": str(home), "COLUMNS": "100"}


@pytest.fixture(scope="module")
def server(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server with an empty store."""
    folder = tmp_path_factory.mktemp("served")
    with serving(environment, folder / "models", folder) as served:
        yield served


@pytest.fixture
def ask(server: Served) -> Ask:
    """Post a request to the server."""

    def post(path: str, **body: Any) -> httpx2.Response:
        return httpx2.post(f"http://{server.host}{path}", json=body, timeout=30)

    return post


def error(response: httpx2.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"].startswith("application/json")
    return response.status_code, response.json()["error"]


def test_pull_in_steps(registry: FaultyRegistry, ask: Ask, server: Served) -> None:
    registry.publish("me/tiny", WEIGHTS, b"x")
    response = ask("/api/pull", model=f"{registry.host}/me/tiny", insecure=True)
    assert response.headers["Content-Type"] == "application/x-ndjson"
    steps = [httpx2.Response(200, content=line).json() for line in response.content.splitlines()]
    texts = list(dict.fromkeys(step["status"] for step in steps))
    config = digest_of(b'{"model_format":"gguf","model_family":"llama"}')
    assert texts == [
        "pulling manifest",
        f"pulling {digest_of(WEIGHTS)[7:19]}",
        f"pulling {digest_of(b'x')[7:19]}",
        f"pulling {config[7:19]}",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    layer = [step for step in steps if step.get("digest") == digest_of(WEIGHTS)]
    assert layer[-1]["completed"] == layer[-1]["total"] == len(WEIGHTS)
    listed = httpx2.get(f"http://{server.host}/api/tags").json()["models"]
    assert f"{registry.host}/me/tiny:latest" in [model["name"] for model in listed]


def test_pull_at_once(registry: FaultyRegistry, ask: Ask) -> None:
    registry.publish("me/once", WEIGHTS)
    answer = ask("/api/pull", name=f"{registry.host}/me/once", insecure=True, stream=False)
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})
    assert answer.headers["Content-Type"] == "application/json"


def test_errors(registry: FaultyRegistry, ask: Ask) -> None:
    missing = f"{registry.host}/me/missing"
    text = "pull model manifest: file does not exist"
    assert error(ask("/api/pull", model=missing, insecure=True, stream=False)) == (500, text)
    lines = ask("/api/pull", model=missing, insecure=True).content.splitlines()
    assert lines == [b'{"status":"pulling manifest"}', b'{"error":"%s"}' % text.encode()]
    assert error(ask("/api/pull", model="")) == (400, "invalid model name")
    assert error(ask("/api/pull", model="a//b")) == (400, "invalid model name")
    assert error(ask("/api/push", model="")) == (400, "model is required")
    assert error(ask("/api/push", model="a//b")) == (400, "invalid model name")
    plain = error(ask("/api/pull", model=f"http://{registry.host}/me/tiny"))
    assert plain == (500, "insecure protocol http")


def test_models_for_newer_ollamas(registry: FaultyRegistry, ask: Ask, server: Served) -> None:
    name = f"{registry.host}/me/newer"
    registry.publish("me/newer", WEIGHTS, described={"requires": "0.1000.0"})
    registry.manifest_faults.append(status(412, "This needs 0.1000.0."))
    for start in ("pull model manifest: 412: the model", "model"):
        code, text = error(ask("/api/pull", model=name, insecure=True, stream=False))
        assert code == 500
        assert text.startswith(start)
        for part in ("requires Ollama 0.1000.0", f"Ollama {OLLAMA_API_VERSION}"):
            assert part in text
    # Stored by another program.
    store = Store(server.models)
    for content in registry.blobs.values():
        store.add_blob(content)
    data = registry.manifests["/v2/me/newer/manifests/latest"]
    store.write_manifest(ModelName.parse(name), Manifest.from_json(data), data)
    code, text = error(ask("/api/embed", model=name, input="text"))
    assert code == 400
    assert "requires Ollama 0.1000.0 or newer" in text
    assert name in str(httpx2.get(f"http://{server.host}/api/tags").json())


def test_push_a_pulled_model(
    registry: FaultyRegistry, docker: str, ask: Ask, server: Served
) -> None:
    registry.publish("me/tiny", WEIGHTS)
    ask("/api/pull", model=f"{registry.host}/me/tiny", insecure=True, stream=False)
    ask("/api/copy", source=f"{registry.host}/me/tiny", destination=f"{docker}/me/copied")
    answer = ask("/api/push", model=f"{docker}/me/copied", insecure=True, stream=False)
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})
    url = f"http://{docker}/v2/me/copied/manifests/latest"
    there = httpx2.get(url, headers={"Accept": manifest.MANIFEST}).content
    store = Store(server.models)
    assert there == store.read_manifest_bytes(ModelName.parse(f"{docker}/me/copied"))


def test_clients_that_go_away_end_the_download(registry: FaultyRegistry, server: Served) -> None:
    weights = os.urandom(400_000)
    registry.publish("me/slow", weights)
    registry.always = dripping(0.05, 5_000)
    body = {"model": f"{registry.host}/me/slow", "insecure": True}
    with httpx2.stream("POST", f"http://{server.host}/api/pull", json=body) as response:
        for line in response.iter_lines():
            if "completed" in line:
                break
    store = Store(server.models)
    partial = f"blobs/{store.blob_path(digest_of(weights)).name}-partial"
    while '"Completed":0}' in (first := store_files(store)[f"{partial}-0"].decode()):
        pass
    assert first == store_files(store)[f"{partial}-0"].decode()
    assert registry.sent < len(weights)


@pytest.fixture
def command(environment: dict[str, str], server: Served) -> Callable[..., Terminal]:
    """Run `jupyter ollama` on a terminal."""
    variables = {**environment, "OLLAMA_HOST": server.host}
    return lambda *arguments: Terminal(["jupyter-ollama", *arguments], variables)


def test_bars_on_a_terminal(registry: FaultyRegistry, command: Callable[..., Terminal]) -> None:
    weights = os.urandom(400_000)
    registry.publish("me/seen", weights)
    registry.always = dripping(0.02, 10_000)
    with command("pull", "--insecure", f"{registry.host}/me/seen") as terminal:
        terminal.expect("pulling manifest\n")
        terminal.expect(f"pulling {digest_of(weights)[7:19]}:  ")
        terminal.expect("▕█")
        terminal.expect("KB/400 KB")
        terminal.expect("100% ▕████████████████████████████████████▏ 400 KB\n")
        terminal.expect("verifying sha256 digest\nwriting manifest\nsuccess\n")
        assert terminal.status() == 0


def test_failed_command(registry: FaultyRegistry, command: Callable[..., Terminal]) -> None:
    registry.manifest_faults.extend([status(403)])
    with command("pull", f"{registry.host}/me/seen", "--insecure") as terminal:
        terminal.expect("pulling manifest\nError: pull model manifest: 403: failed with 403\n")
        assert terminal.status() == 1
    with command("push", "me/nothing") as terminal:
        terminal.expect("couldn't retrieve manifest\nError: model 'me/nothing:latest' not found")
        assert terminal.status() == 1
