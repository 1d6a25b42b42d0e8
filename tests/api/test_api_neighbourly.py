"""Small things that clients of Ollama rely on: paths, fields of requests, names in errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_client import GREEDY, Fetch, answer, chat, error, fetcher, generate, lines
from peers import faulty_registry
from store_models import create_model

from jupyter_ollama.api.origins import ALLOWED_HEADERS
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.registry.transfer_policy import TransferPolicy
from jupyter_ollama.registry.transfers import Transfers


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@pytest.mark.parametrize(
    ("method", "path", "clean"),
    [
        ("GET", "//api/tags", "/api/tags"),
        ("GET", "/api//tags?a=1", "/api/tags?a=1"),
        ("POST", "//api/chat", "/api/chat"),
        ("POST", "//v1//chat/completions", "/v1/chat/completions"),
        ("GET", "///example.org/api", "/example.org/api"),
    ],
)
async def test_a_slash_too_many_is_redirected(
    either: Fetch, jp_base_url: str, method: str, path: str, clean: str
) -> None:
    response = await either(method, path, b"{}" if method == "POST" else None)
    assert response.code == 307
    assert response.headers["Location"] in (clean, f"{jp_base_url}ollama{clean}")


async def test_two_slashes_are_the_root(standalone: Fetch) -> None:
    response = await standalone("GET", "//")
    assert (response.code, response.headers["Location"]) == (307, "/")


async def test_routes_of_ollamas_cloud(either: Fetch) -> None:
    for method, path in (("POST", "/api/signout"), ("DELETE", "/api/user/keys/abc")):
        response = await either(method, path)
        assert (response.code, error(response)) == (401, "you are not currently signed in")
    response = await either("GET", "/api/experimental/model-recommendations")
    recommended = json.loads(response.body)["recommendations"]
    assert recommended
    for one in recommended:
        assert one["model"]
        assert one["description"]
        assert ":cloud" not in one["model"]


async def test_preflights_list_the_same_headers_everywhere(jupyter_url: str) -> None:
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    response = await fetcher(jupyter_url, headers)("OPTIONS", "/ollama/api/chat")
    listed = response.headers["Access-Control-Allow-Headers"].split(", ")
    assert {name.lower() for name in ALLOWED_HEADERS} <= {*listed}
    assert "x-xsrftoken" in listed


async def test_show_takes_a_system_text_and_options(standalone: Fetch) -> None:
    plain = await answer(standalone, "/api/show", {"model": "smollm2"})
    asked = {"model": "smollm2", "system": "Rhyme.", "options": {"top_k": 7, "stop": ["x", "y"]}}
    shown = await answer(standalone, "/api/show", asked)
    assert shown["system"] == "Rhyme."
    modelfile = shown["modelfile"].splitlines()
    for line in ("SYSTEM Rhyme.", "PARAMETER top_k 7", "PARAMETER stop x", "PARAMETER stop y"):
        assert line in modelfile
    assert shown["parameters"] == plain["parameters"], "those of the model, as Ollama has it"
    assert await answer(standalone, "/api/show", {"model": "smollm2"}) == plain


async def test_the_parent_of_a_file_is_none(standalone: Fetch, ollama_server: OllamaServer) -> None:
    library = ollama_server.library
    digest = f"sha256:{library.find('smollm2').model_path.name.removeprefix('sha256-')}"
    create_model(library, model="of-file", files={"m.gguf": digest})
    create_model(library, **{"model": "of-model", "from": "of-file"})
    for name, parent in (("of-file", ""), ("of-model", "of-file:latest")):
        shown = await answer(standalone, "/api/show", {"model": name})
        assert shown["details"]["parent_model"] == parent


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_an_empty_format_is_an_object(standalone: Fetch, path: str) -> None:
    options = GREEDY | {"num_predict": 100}
    body = (chat if path == "/api/chat" else generate)(format={}, stream=False, options=options)
    reported = await answer(standalone, path, body)
    text = reported["message"]["content"] if path == "/api/chat" else reported["response"]
    assert text.lstrip().startswith("{")


@pytest.mark.parametrize("seed", [2**63, 2**64 - 1, 1e30, -(2**63), 5.0])
async def test_any_number_is_a_seed(standalone: Fetch, seed: float) -> None:
    options = {"temperature": 1, "num_predict": 8, "num_ctx": 512, "seed": seed}
    texts = [
        (await answer(standalone, "/api/generate", generate(stream=False, options=options)))
        for _ in range(2)
    ]
    assert texts[0]["response"] == texts[1]["response"]


async def test_a_developer_speaks_for_the_system(standalone: Fetch) -> None:
    def rendered(role: str) -> dict[str, Any]:
        messages = [{"role": role, "content": "Rhyme."}, {"role": "user", "content": "Hi"}]
        return chat(messages=messages, _debug_render_only=True)

    system, developer = [
        (await answer(standalone, "/api/chat", rendered(role)))["_debug_info"]
        for role in ("system", "Developer")
    ]
    assert developer == system
    assert "Rhyme." in system["rendered_template"]


@pytest.mark.parametrize("arguments", ["", " ", "null", None, ..., "{}"])
async def test_calls_without_arguments(standalone: Fetch, arguments: Any) -> None:
    function = {"name": "now"} | ({} if arguments is ... else {"arguments": arguments})
    call = {"id": "c1", "type": "function", "function": function}
    messages = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "noon"},
    ]
    body = {"model": "smollm2", "messages": messages, "max_tokens": 2}
    assert (await standalone("POST", "/v1/chat/completions", body)).code == 200
    item = {"type": "function_call", "call_id": "c1", **function}
    output = {"type": "function_call_output", "call_id": "c1", "output": "noon"}
    body = {"model": "smollm2", "input": [item, output], "max_output_tokens": 2}
    assert (await standalone("POST", "/v1/responses", body)).code == 200


@pytest.mark.parametrize("name", ["smollm2", "smollm2:latest", "library/smollm2"])
async def test_errors_name_models_as_they_were_typed(standalone: Fetch, name: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    for path, body, lack in (
        ("/api/chat", chat(model=name, tools=[tool]), "tools"),
        ("/api/generate", generate(model=name, images=["aGk="]), "vision"),
    ):
        response = await standalone("POST", path, body)
        assert (response.code, error(response)) == (400, f'"{name}" does not support {lack}')


async def test_create_pulls_a_missing_base(standalone: Fetch, ollama_server: OllamaServer) -> None:
    weights = ollama_server.library.find("all-minilm").model_path.read_bytes() + b"\0"
    with faulty_registry() as registry:
        registry.publish("me/tiny", weights)
        ollama_server.registry_mirrors = {registry.host: f"http://{registry.host}"}
        create = {"model": "mine", "from": f"{registry.host}/me/tiny", "system": "x"}
        response = await standalone("POST", "/api/create", create)
        reported = [line["status"] for line in lines(response)]
        assert reported[0] == "pulling manifest"
        assert [status for status in reported if status == "success"] == ["success"]
        assert reported[-1] == "success"
        shown = await answer(standalone, "/api/show", {"model": "mine"})
        assert shown["details"]["parent_model"].endswith("/me/tiny:latest")
        asked = len(registry.requests)
        again = lines(await standalone("POST", "/api/create", create))
        assert again[-1] == {"status": "success"}
        assert len(registry.requests) == asked, "it is there by now"
        gone = {"model": "other", "from": f"{registry.host}/me/absent", "stream": False}
        response = await standalone("POST", "/api/create", gone)
        assert (response.code, error(response)) == (
            500,
            "pull model manifest: file does not exist",
        )


async def test_a_registry_out_of_reach(standalone: Fetch, ollama_server: OllamaServer) -> None:
    mirrors = {
        "registry.ollama.ai": "http://127.0.0.1:1",
        "example.org": "http://no-such-host.invalid",
    }
    policy = TransferPolicy(backoff=0.01)
    ollama_server.transfers = Transfers(ollama_server.store, mirrors=mirrors, policy=policy)
    for path, body in (
        ("/api/pull", {"model": "nothing"}),
        ("/api/pull", {"model": "example.org/me/nothing"}),
        ("/api/create", {"model": "new", "from": "nothing"}),
    ):
        response = await standalone("POST", path, body | {"stream": False})
        assert response.code == 500
        assert "no connection to the registry (offline?)" in error(response)
        assert "Errno" not in error(response)
