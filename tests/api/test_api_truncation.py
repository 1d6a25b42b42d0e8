"""Prompts that are too long: reported in the answer and in its header, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_client import GREEDY, Fetch, chat, error, generate, lines

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.prompting import TOO_LONG

HEADER = "X-Ollama-Truncated"
ROOMY = GREEDY | {"num_predict": 2}
TIGHT = ROOMY | {"num_ctx": 64}

LONG = generate(prompt="word " * 200)
TURNS = [
    {"role": role, "content": f"In turn {number} we spoke of the sea and of the stars above it."}
    for number in range(8)
    for role in ("user", "assistant")
]
TALK = chat(messages=[*TURNS, {"role": "user", "content": "What did we speak of?"}])
BOTH = pytest.mark.parametrize(
    ("path", "body"), [("/api/generate", LONG), ("/api/chat", TALK)], ids=["generate", "chat"]
)
STREAM = pytest.mark.parametrize("stream", [True, False])


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@BOTH
@STREAM
async def test_the_truncated_tokens_are_reported(
    standalone: Fetch, path: str, body: dict[str, Any], stream: bool
) -> None:
    body = body | {"stream": stream}
    response = await standalone("POST", path, body | {"options": ROOMY})
    whole = lines(response)[-1]
    assert HEADER not in response.headers
    assert "truncated" not in whole

    response = await standalone("POST", path, body | {"options": TIGHT})
    cut = lines(response)[-1]
    assert cut["prompt_eval_count"] < 64 < whole["prompt_eval_count"]
    assert cut["truncated"] == whole["prompt_eval_count"] - cut["prompt_eval_count"]
    assert response.headers[HEADER] == str(cut["truncated"])
    assert list(cut)[-1] == "truncated"


async def test_a_last_message_that_is_too_long_is_cut_after_all_others_have_gone(
    standalone: Fetch,
) -> None:
    last = {"role": "user", "content": "word " * 200}
    body = TALK | {"messages": [*TURNS, last], "stream": False}
    whole, cut = [
        lines(await standalone("POST", "/api/chat", body | {"options": options}))[-1]
        for options in (ROOMY | {"num_ctx": 1024}, TIGHT)
    ]
    assert cut["truncated"] == whole["prompt_eval_count"] - cut["prompt_eval_count"]


@BOTH
@STREAM
async def test_a_strict_server_refuses_long_prompts(
    standalone: Fetch,
    ollama_server: OllamaServer,
    path: str,
    body: dict[str, Any],
    stream: bool,
) -> None:
    body = body | {"stream": stream}
    tight = body | {"options": TIGHT}
    ollama_server.truncate_prompts = False
    response = await standalone("POST", path, tight)
    assert (response.code, error(response)) == (400, TOO_LONG)
    assert HEADER not in response.headers
    assert (await standalone("POST", path, body | {"options": ROOMY})).code == 200
    assert (await standalone("POST", path, tight | {"truncate": None})).code == 400
    response = await standalone("POST", path, tight | {"truncate": True})
    assert (response.code, HEADER in response.headers) == (200, True)


@BOTH
async def test_a_request_can_be_strict_itself(
    standalone: Fetch, path: str, body: dict[str, Any]
) -> None:
    response = await standalone("POST", path, body | {"options": TIGHT, "truncate": False})
    assert (response.code, error(response)) == (400, TOO_LONG)


def test_the_variable_makes_a_server_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OllamaServer().truncate_prompts
    monkeypatch.setenv("OLLAMA_TRUNCATE_PROMPTS", "0")
    assert not OllamaServer().truncate_prompts
