"""The memory and contexts that /api/ps reports, and the load options that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error, generate

MIB = 2**20


@pytest.fixture
def models_dir(ollama_store: Path) -> Path:
    return ollama_store


async def ask(fetch: Fetch, **options: Any) -> dict[str, Any]:
    """Generate a little and return the loaded models."""
    body = generate(stream=False, options={"num_predict": 2, **options})
    response = await fetch("POST", "/api/generate", body)
    assert response.code == 200
    loaded: list[dict[str, Any]] = json.loads((await fetch("GET", "/api/ps")).body)["models"]
    assert len(loaded) == 1
    return loaded[0]


async def test_ps_follows_a_context_that_grows(standalone: Fetch) -> None:
    small = await ask(standalone, num_ctx=256)
    assert (small["context_length"], small["size_vram"]) == (256, 0)
    # Weights of 86 MiB and buffers for it to work with.
    assert 86 * MIB < small["size"] < 300 * MIB
    large = await ask(standalone, num_ctx=2048)
    assert large["context_length"] == 2048
    # 22.5 KiB a token, four contexts of 1792 tokens more.
    assert 140 * MIB < large["size"] - small["size"] < 180 * MIB
    again = await ask(standalone, num_ctx=512)
    assert (again["context_length"], again["size"]) == (2048, large["size"])


async def test_ps_reports_the_default_context(standalone: Fetch) -> None:
    # On a host without a GPU.
    assert (await ask(standalone))["context_length"] == 4096
    assert (await ask(standalone, num_ctx=5000))["context_length"] == 5000
    assert (await ask(standalone))["context_length"] == 5000


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kv_cache_type": "q5_1"}, 'option "kv_cache_type" must be one of f16, q8_0, q4_0'),
        ({"tensor_split": "1,1"}, 'option "tensor_split" must be an array of numbers'),
        ({"flash_attention": "on"}, 'option "flash_attention" must be of type boolean'),
        (
            {"kv_cache_type": "q4_0", "flash_attention": False},
            'kv_cache_type "q4_0" needs flash attention, but flash_attention is false',
        ),
    ],
)
async def test_wishes_that_make_no_sense_load_nothing(
    standalone: Fetch, options: dict[str, Any], text: str
) -> None:
    response = await standalone("POST", "/api/generate", generate(options=options))
    assert response.code == 400
    assert error(response).startswith(text)
    assert json.loads((await standalone("GET", "/api/ps")).body)["models"] == []
