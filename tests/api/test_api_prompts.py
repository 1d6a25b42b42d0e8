"""The parts of a request in its prompt, with a real model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_client import QUESTION, Fetch, chat, error, generate


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


async def rendered(fetch: Fetch, path: str, body: dict[str, Any]) -> str:
    response = await fetch("POST", path, body | {"_debug_render_only": True})
    answer = json.loads(response.body)
    assert answer["done"] is False
    text: str = answer["_debug_info"]["rendered_template"]
    return text


async def test_raw_prompts_are_read_as_they_stand(standalone: Fetch) -> None:
    text = await rendered(standalone, "/api/generate", generate())
    assert text != "Once upon a time"
    templated = await standalone("POST", "/api/generate", generate(stream=False))
    body = generate(raw=True, prompt=text, stream=False)
    answer = json.loads((await standalone("POST", "/api/generate", body)).body)
    assert answer["response"] == json.loads(templated.body)["response"]
    assert "context" not in answer


async def test_what_goes_into_a_prompt(standalone: Fetch) -> None:
    create = {
        "model": "pirate",
        "from": "smollm2",
        "system": "MODEL SYSTEM",
        "messages": [
            {"role": "user", "content": "HELLO"},
            {"role": "assistant", "content": "YARR"},
        ],
        "stream": False,
    }
    assert (await standalone("POST", "/api/create", create)).code == 200

    def order(text: str, *words: str) -> bool:
        places = [text.find(word) for word in words]
        return -1 not in places and places == sorted(places)

    body = {"model": "pirate", "prompt": "QUESTION"}
    text = await rendered(standalone, "/api/generate", body)
    assert order(text, "MODEL SYSTEM", "HELLO", "YARR", "QUESTION")
    text = await rendered(standalone, "/api/generate", body | {"system": "OTHER"})
    assert order(text, "OTHER", "HELLO", "YARR", "QUESTION")
    assert "MODEL SYSTEM" not in text
    text = await rendered(standalone, "/api/generate", body | {"context": [1, 2, 3]})
    assert "HELLO" not in text
    template = {"template": "<{{ .System }}|{{ .Prompt }}>"}
    text = await rendered(standalone, "/api/generate", body | template)
    assert order(text, "MODEL SYSTEM|", "QUESTION>")
    text = await rendered(standalone, "/api/generate", body | {"raw": True})
    assert text == "QUESTION"
    ask = {"model": "pirate", "messages": [{"role": "USER", "content": "QUESTION"}]}
    text = await rendered(standalone, "/api/chat", ask)
    assert order(text, "MODEL SYSTEM", "HELLO", "YARR", "QUESTION")
    assert "USER" not in text
    ask["messages"] = [{"role": "system", "content": "OTHER"}, *ask["messages"]]  # type: ignore[list-item]
    text = await rendered(standalone, "/api/chat", ask)
    assert "OTHER" in text
    assert "MODEL SYSTEM" not in text


async def test_a_bad_template_is_reported(standalone: Fetch) -> None:
    for stream in (True, False):
        body = generate(template="{{ if }}", stream=stream)
        response = await standalone("POST", "/api/generate", body)
        assert (response.code, error(response)) == (400, "template: :1: missing value for command")


async def make(fetch: Fetch, name: str, **fields: Any) -> None:
    body = {"model": name, "from": "smollm2", "stream": False} | fields
    response = await fetch("POST", "/api/create", body)
    assert response.code == 200, response.body


async def test_thinking_models_think_by_default(standalone: Fetch) -> None:
    template = (
        "{{ if .IsThinkSet }}{{ if .Think }}ON {{ .ThinkLevel }}{{ else }}OFF{{ end }}{{ end }}"
        "{{ range .Messages }}{{ .Content }}"
        "{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}"
    )
    await make(standalone, "thinker", template=template)
    for path, body in (
        ("/api/generate", {"model": "thinker", "prompt": "Q"}),
        ("/api/chat", {"model": "thinker", "messages": [QUESTION]}),
    ):
        assert "ON" in await rendered(standalone, path, body)
        assert "ON low" in await rendered(standalone, path, body | {"think": "low"})
        assert "OFF" in await rendered(standalone, path, body | {"think": False})


async def test_a_suffix_is_filled_into_its_template(standalone: Fetch) -> None:
    template = (
        "{{ if .Suffix }}<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ else }}{{ .Prompt }}{{ end }}"
    )
    await make(standalone, "coder", template=template)
    body = {"model": "coder", "prompt": "def f", "suffix": "return 1"}
    text = await rendered(standalone, "/api/generate", body)
    assert text == "<PRE>def f<SUF>return 1<MID>"


async def test_tools_go_to_models_whose_template_knows_them(standalone: Fetch) -> None:
    await make(
        standalone, "caller", template="{{ .Tools }}{{ range .Messages }}{{ .Content }}{{ end }}"
    )
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    text = await rendered(standalone, "/api/chat", chat(model="caller", tools=tools))
    assert '"name":"f"' in text
    text = await rendered(
        standalone, "/api/chat", chat(model="caller", tools=tools, tool_choice="none")
    )
    assert '"name":"f"' not in text
    response = await standalone("POST", "/api/chat", chat(tools=tools))
    message = '"smollm2" does not support tools'
    assert (response.code, error(response)) == (400, message)


async def test_old_thoughts_of_qwen3_are_left_out(standalone: Fetch) -> None:
    await make(standalone, "quen", info={"model_family": "qwen3"})
    said = {"role": "assistant", "content": "<think>\nSECRET\n</think>\n\nSPOKEN"}
    body = {"model": "quen", "messages": [QUESTION, said, QUESTION]}
    text = await rendered(standalone, "/api/chat", body)
    assert "SPOKEN" in text
    assert "SECRET" not in text
    text = await rendered(standalone, "/api/chat", body | {"messages": [QUESTION, said]})
    assert "SECRET" in text
    text = await rendered(standalone, "/api/chat", body | {"model": "smollm2"})
    assert "SECRET" in text
