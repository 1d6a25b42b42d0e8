"""The metrics and events of users' requests in a Jupyter server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, answer, fetcher, generate, wait_until
from jupyter_server.auth.identity import IdentityProvider, User
from prometheus_client.parser import text_string_to_metric_families
from traitlets.config import Config


class Names(IdentityProvider):
    """Authenticates each request as the user named in a header."""

    def get_user(self, handler: Any) -> User:
        handler._token_authenticated = True
        user = User(handler.request.headers.get("X-Test-User", "admin"))
        user.hub_user = {"groups": ["class"]}  # type: ignore[attr-defined]
        return user


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@pytest.fixture
def jp_server_config(jp_server_config: Config) -> Config:
    jp_server_config.ServerApp.identity_provider_class = Names
    jp_server_config.OllamaServer.limits = {"group:class": {"num_predict": 4}}
    return jp_server_config


@pytest.fixture
def ann(jupyter_url: str) -> Fetch:
    return fetcher(jupyter_url + "/ollama", {"X-Test-User": "ann", "Authorization": "token x"})


async def figures(url: str) -> dict[str, float]:
    response = await fetcher(url, {"Authorization": "token x"})("GET", "/metrics")
    return {
        " ".join([sample.name, *sorted(sample.labels.values(), reverse=True)]): sample.value
        for family in text_string_to_metric_families(response.body.decode())
        for sample in family.samples
        if sample.name.startswith("jupyter_ollama_")
    }


async def test_figures(ann: Fetch, jupyter_url: str, jp_serverapp: Any) -> None:
    end = await answer(ann, "/api/generate", generate(stream=False))
    assert end["eval_count"] == 4
    server = jp_serverapp.extension_manager.extension_apps["jupyter_ollama"]
    server = next(iter(server)).server
    await wait_until(lambda: not server.admission.requests)
    await ann("POST", "/api/generate", generate(model="nope"))
    found = await figures(jupyter_url)
    model = "smollm2:latest"
    assert found[f"jupyter_ollama_tokens_total {model} prompt"] == end["prompt_eval_count"]
    assert found[f"jupyter_ollama_tokens_total {model} generated"] == 4
    assert found[f"jupyter_ollama_requests_total {model} 200"] == 1
    assert found[f"jupyter_ollama_model_loads_total {model}"] == 1
    assert found[f"jupyter_ollama_model_memory_bytes {model} host"] > 50e6
    assert found["jupyter_ollama_requests_running"] == 0
    assert found["jupyter_ollama_requests_waiting"] == 0
    for name in ("time_to_first_token_seconds", "time_per_output_token_seconds", "wait_seconds"):
        assert found[f"jupyter_ollama_{name}_count {model}"] == 1
        assert 0 < found[f"jupyter_ollama_{name}_sum {model}"] < 60
    assert not [name for name in found if "ann" in name or "nope" in name]


async def test_memory(ann: Fetch, jupyter_url: str) -> None:
    model = "smollm2:latest"

    async def until_used(enough: Callable[[float], bool]) -> dict[str, float]:
        while True:
            found = await figures(jupyter_url)
            if enough(found.get(f"jupyter_ollama_kv_cache_used_tokens {model}", -1)):
                return found
            await asyncio.sleep(0.05)

    none = await figures(jupyter_url)
    assert not [name for name in none if "kv_cache" in name or "device" in name]
    await answer(ann, "/api/generate", {"model": "smollm2"})
    empty = await until_used(lambda used: used == 0)
    assert empty[f"jupyter_ollama_kv_cache_size_tokens {model}"] >= 4096
    for result in ("accepted", "rejected"):
        assert empty[f"jupyter_ollama_draft_tokens_total {model} {result}"] == 0
    free = empty["jupyter_ollama_device_memory_free_bytes CPU"]
    assert 0 < free < empty["jupyter_ollama_device_memory_total_bytes CPU"]
    # The computed prompt stays in the cache for similar ones, except its last token.
    end = await answer(ann, "/api/generate", generate(prompt="The sea! " * 16, stream=False))
    length = end["prompt_eval_count"] + end["eval_count"]
    full = await until_used(lambda used: used == length - 1)
    assert full.keys() >= empty.keys()
    assert empty[f"jupyter_ollama_kv_cache_stored_bytes {model}"] == 0

    # A copy is made while the model is idle, in case the sequence has to leave the cache.
    async def until_stored() -> float:
        while True:
            found = await figures(jupyter_url)
            if stored := found[f"jupyter_ollama_kv_cache_stored_bytes {model}"]:
                return stored
            await asyncio.sleep(0.05)

    stored = await until_stored()
    (entry,) = json.loads((await ann("GET", "/api/ps")).body)["models"]
    assert entry["size_stored"] == stored


async def test_events(ann: Fetch, jp_serverapp: Any) -> None:
    seen: list[dict[str, Any]] = []

    async def listen(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        seen.append(data)

    schema_id = "https://events.jupyter.org/jupyter_ollama/event/v1"
    jp_serverapp.event_logger.add_listener(schema_id=schema_id, listener=listen)
    await answer(ann, "/api/generate", generate(stream=False, keep_alive=0))
    copied = await ann("POST", "/api/copy", {"source": "smollm2", "destination": "mine"})
    assert copied.code == 200
    assert (await ann("POST", "/admin/block", {"user": "bob"})).code == 200
    bob = await ann("POST", "/api/generate", generate(), headers={"X-Test-User": "bob"})
    assert bob.code == 403
    await wait_until(lambda: len(seen) >= 5)
    events = {one["kind"]: one for one in seen}
    assert events["load"]["model"] == events["unload"]["model"] == "smollm2:latest"
    assert events["load"]["seconds"] > 0
    assert events["change"] == {
        "kind": "change",
        "user": "ann",
        "model": "mine",
        "path": "/api/copy",
        "status": 200,
    }
    assert events["block"]["user"] == events["refuse"]["user"] == "bob"
    assert events["refuse"]["status"] == 403
    assert "Once upon" not in json.dumps(seen)
