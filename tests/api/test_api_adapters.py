"""Models that differ in their adapters, as clients see them: names, lists, stops and records."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, generate, wait_until
from lora_files import write_lora
from store_models import create_model

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.library.library import Library

NAMES = ("smollm2:latest", "tuned:latest", "xtuned:latest")


@pytest.fixture
def models_dir(scratch_store: Path, tmp_path: Path) -> Path:
    library = Library.open(scratch_store)
    base = library.find("smollm2").model_path
    for seed, name in enumerate(("tuned", "xtuned"), 1):
        lora = write_lora(base, tmp_path / f"{name}.gguf", seed=seed, alpha=16)
        digest = library.store.add_blob(lora.read_bytes()).digest
        body: dict[str, Any] = {"from": "smollm2", "adapters": {"lora.gguf": digest}}
        create_model(library, model=name, **body)
    return scratch_store


async def ask(fetch: Fetch, model: str, **fields: Any) -> dict[str, Any]:
    """Generate a little with a model."""
    options = {"num_predict": 6, "temperature": 0}
    body = generate(stream=False, options=options) | {"model": model, **fields}
    response = await fetch("POST", "/api/generate", body)
    assert response.code == 200
    found: dict[str, Any] = json.loads(response.body)
    return found


async def running(fetch: Fetch) -> dict[str, dict[str, Any]]:
    """Return the entries of /api/ps by name."""
    entries = json.loads((await fetch("GET", "/api/ps")).body)["models"]
    return {entry["name"]: entry for entry in entries}


async def test_names_are_listed_and_stopped_one_by_one(
    standalone: Fetch, ollama_server: OllamaServer
) -> None:
    alone = (await ask(standalone, "tuned"))["response"]
    assert "size_shared" not in (await running(standalone))["tuned:latest"]
    answers = await asyncio.gather(*(ask(standalone, name) for name in NAMES))
    assert [answer["model"] for answer in answers] == [*NAMES]
    entries = await running(standalone)
    assert {*entries} == {*NAMES}
    assert len({entry["size_shared"] for entry in entries.values()}) == 1
    base, tuned = entries["smollm2:latest"], entries["tuned:latest"]
    assert base["size"] == base["size_shared"] < tuned["size"]
    assert tuned["digest"] != base["digest"]
    metrics = (await standalone("GET", "/metrics")).body.decode()
    held = [
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if "model_memory_bytes{" in line
    ]
    assert sum(held) < 1.1 * tuned["size"]
    # Runners report their counts once a second, or when they have no more work.
    await wait_until(lambda: all(one.generated for one in ollama_server.scheduler.loaded()))
    # The shape of a batch decides about near ties: alone again, the answer is the same again.
    again = await ask(standalone, "tuned", keep_alive=0)
    assert again["response"] == alone
    await asyncio.sleep(0.1)
    assert {*await running(standalone)} == {"smollm2:latest", "xtuned:latest"}
    assert (await ask(standalone, "tuned"))["response"] == alone
