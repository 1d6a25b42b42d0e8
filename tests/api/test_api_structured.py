"""Answers in a form that the request asks for, over HTTP from a real model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from api_client import Fetch, chat, error, generate, lines
from tornado.httpclient import HTTPResponse

OPTIONS = {"temperature": 1.5, "seed": 3, "num_ctx": 512, "num_predict": 100}
SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["gloomy", "serene"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "open": {"type": "boolean"},
    },
    "required": ["mood", "stars", "open"],
    "additionalProperties": False,
}
ASK = {
    "/api/generate": generate(prompt="Describe the inn.", options=OPTIONS),
    "/api/chat": chat(messages=[{"role": "user", "content": "Describe it."}], options=OPTIONS),
}
GRAMMARS = ('start: ("tick" | "tock")~3', 'root ::= ("tick" | "tock") ("tick" | "tock")?')
IMPOSSIBLE: list[dict[str, Any]] = [
    {"type": "nonsense"},
    {"$ref": "#/$defs/nowhere"},
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {
        "$ref": "#/$defs/N",
        "$defs": {
            "N": {"type": "object", "required": ["c"], "properties": {"c": {"$ref": "#/$defs/N"}}}
        },
    },
    {"grammar": "start: ((("},
    {"grammar": ""},
]
PATHS = pytest.mark.parametrize("path", ASK)


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


def text_of(response: HTTPResponse) -> str:
    assert response.code == 200, response.body
    return "".join(
        part["message"]["content"] if "message" in part else part["response"]
        for part in lines(response)
    )


def finished(response: HTTPResponse) -> str:
    text = text_of(response)
    assert lines(response)[-1]["done_reason"] == "stop"
    return text


def assert_kept(response: HTTPResponse) -> None:
    answer = json.loads(finished(response))
    assert list(answer) == ["mood", "stars", "open"]
    assert answer["mood"] in ("gloomy", "serene")
    assert answer["stars"] in range(1, 6)
    assert answer["open"] in (True, False)


@PATHS
async def test_the_form_is_kept(standalone: Fetch, path: str) -> None:
    for stream in (True, False):
        body = ASK[path] | {"stream": stream}
        assert_kept(await standalone("POST", path, body | {"format": SCHEMA}))
        for grammar in GRAMMARS:
            text = finished(await standalone("POST", path, body | {"format": {"grammar": grammar}}))
            assert text
            assert text.replace("tick", "").replace("tock", "") == ""

    # Greedy: a hot model could go on for ever inside a string.
    body = ASK[path] | {"format": "json", "options": OPTIONS | {"temperature": 0}}
    response = await standalone("POST", path, body)
    assert text_of(response).lstrip().startswith("{")
    if lines(response)[-1]["done_reason"] == "stop":
        assert isinstance(json.loads(text_of(response)), dict)


@PATHS
async def test_a_form_that_nothing_can_have_is_an_error(standalone: Fetch, path: str) -> None:
    for format in IMPOSSIBLE:
        for stream in (True, False):
            body = ASK[path] | {"format": format, "stream": stream}
            response = await asyncio.wait_for(standalone("POST", path, body), 30)
            assert response.code == 400, format
            assert error(response)
    # The places of those requests are free again.
    assert_kept(await standalone("POST", path, ASK[path] | {"format": SCHEMA}))


async def test_answers_with_and_without_a_form_are_made_side_by_side(standalone: Fetch) -> None:
    formats: list[Any] = [SCHEMA, None, {"grammar": 'start: "tick"'}, "", SCHEMA]
    body = ASK["/api/generate"]
    answers = await asyncio.gather(
        *(standalone("POST", "/api/generate", body | {"format": format}) for format in formats)
    )
    assert_kept(answers[0])
    assert_kept(answers[4])
    assert finished(answers[2]) == "tick"
    free = [text_of(answers[1]), text_of(answers[3])]
    assert all(not text.startswith(("tick", "{")) for text in free)


async def test_a_model_is_loaded_whatever_the_form_would_be(standalone: Fetch) -> None:
    body = generate(prompt="", format="xml")
    answer = lines(await standalone("POST", "/api/generate", body))[-1]
    assert answer["done_reason"] == "load"


COMBINED = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "x": {"allOf": [{"type": "integer"}, {"minimum": 1, "maximum": 5}]},
        },
        "required": ["name", "x"],
    },
    {
        "type": "object",
        "properties": {"kind": {"enum": ["cat", "dog"]}},
        "required": ["kind"],
        "anyOf": [
            {"properties": {"lives": {"minimum": 1, "maximum": 9, "type": "integer"}},
             "required": ["lives"]},
            {"properties": {"bark": {"type": "string", "maxLength": 5}}, "required": ["bark"]},
        ],
    },
]  # fmt: skip


@PATHS
async def test_schemas_in_parts_are_kept(standalone: Fetch, path: str) -> None:
    for schema in COMBINED:
        response = await standalone("POST", path, ASK[path] | {"format": schema})
        jsonschema.validate(json.loads(finished(response)), schema)
    schema = {"type": "object", "properties": {"a": {"const": "b"}}, "required": ["a", "zz"]}
    response = await standalone("POST", path, ASK[path] | {"format": schema})
    assert json.loads(finished(response)) == {"a": "b"}


async def test_a_number_ends(standalone: Fetch) -> None:
    schema = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}
    digits = {str(token): 50 for token in await digit_tokens(standalone)}
    # Nothing but digits and points, as long as they may follow.
    body = generate(
        prompt="What does a coffee cost?",
        options=OPTIONS | {"temperature": 0, "logit_bias": digits},
        format=schema,
    )
    text = finished(await standalone("POST", "/api/generate", body))
    assert isinstance(json.loads(text)["price"], int | float)
    assert 15 < sum(map(str.isdigit, text)) < 50


async def digit_tokens(standalone: Fetch) -> list[int]:
    """Return the tokens of the model that are single digits."""
    body = {"model": "smollm2", "content": "0123456789", "special": False}
    response = await standalone("POST", "/api/tokenize", body)
    return list(json.loads(response.body)["tokens"])
