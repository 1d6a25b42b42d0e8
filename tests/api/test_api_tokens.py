"""Texts to tokens and back, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error

TEXT = "Häuser, 東京 and 🦙s:\n  one two"


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


async def ask(fetch: Fetch, path: str, **fields: Any) -> dict[str, Any]:
    response = await fetch("POST", path, {"model": "smollm2"} | fields)
    assert response.code == 200, response.body
    answer: dict[str, Any] = json.loads(response.body)
    return answer


async def test_there_and_back(either: Fetch) -> None:
    answer = await ask(either, "/api/tokenize", content=TEXT)
    assert list(answer) == ["model", "tokens"]
    assert len(answer["tokens"]) > 10
    back = await ask(either, "/api/detokenize", tokens=answer["tokens"])
    assert back == {"model": "smollm2", "content": TEXT}
    assert await ask(either, "/api/tokenize", text=TEXT) == answer
    assert (await ask(either, "/api/tokenize", content=""))["tokens"] == []
    assert (await ask(either, "/api/detokenize"))["content"] == ""


async def test_a_prompt_has_as_many_tokens_as_are_counted(standalone: Fetch) -> None:
    body = {"prompt": TEXT, "raw": True, "stream": False, "options": {"num_predict": 1}}
    counted = (await ask(standalone, "/api/generate", **body))["prompt_eval_count"]
    assert len((await ask(standalone, "/api/tokenize", content=TEXT))["tokens"]) == counted


async def test_pieces(standalone: Fetch) -> None:
    plain = await ask(standalone, "/api/tokenize", content=TEXT)
    shown = (await ask(standalone, "/api/tokenize", content=TEXT, with_pieces=True))["tokens"]
    assert [token["id"] for token in shown] == plain["tokens"]
    pieces = [token["piece"] for token in shown]
    assert any(isinstance(piece, list) for piece in pieces), "a llama takes several tokens"
    whole = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in pieces)
    assert whole.decode() == TEXT


async def test_special_tokens(standalone: Fetch) -> None:
    async def count(**fields: Any) -> int:
        return len((await ask(standalone, "/api/tokenize", **fields))["tokens"])

    assert await count(content="<|im_end|>") == 1
    assert await count(content="<|im_end|>", parse_special=False) > 1
    encoder = {"model": "all-minilm", "content": "a cat"}
    around = await count(**encoder)
    assert await count(**encoder, special=False) == around - 2
    assert await count(**encoder, add_special=False) == around - 2

    tokens = (await ask(standalone, "/api/tokenize", **encoder))["tokens"]
    body = {"model": "all-minilm", "tokens": tokens}
    assert (await ask(standalone, "/api/detokenize", **body))["content"] == "a cat"
    shown = (await ask(standalone, "/api/detokenize", **body, special=True))["content"]
    assert shown == "[CLS] a cat[SEP]"


@pytest.mark.parametrize("token", [-1, 2**31 - 1, 2**40])
async def test_unknown_tokens(standalone: Fetch, token: int) -> None:
    body = {"model": "smollm2", "tokens": [1, token]}
    response = await standalone("POST", "/api/detokenize", body)
    assert (response.code, error(response)) == (400, "tokens that this model does not have")


@pytest.mark.parametrize("path", ["/api/tokenize", "/api/detokenize"])
async def test_unknown_models(standalone: Fetch, path: str) -> None:
    response = await standalone("POST", path, {"model": "nope"})
    assert (response.code, error(response)) == (404, "model 'nope' not found")
