from __future__ import annotations

import json
from typing import Any

import pytest

from jupyter_ollama.api.decoding import decode
from jupyter_ollama.api.format import constraint
from jupyter_ollama.api.wire import ChatRequest
from jupyter_ollama.engine.protocol import Constraint
from jupyter_ollama.errors import OllamaError


def from_body(format: str) -> Constraint | None:
    """Take the text of a ``format`` through the decoder of bodies, as a request does."""
    return constraint(decode(f'{{"format": {format}}}'.encode(), ChatRequest).format)


def refusal(format: str) -> str:
    with pytest.raises(OllamaError) as caught:
        from_body(format)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize("format", ["null", '""'])
def test_nothing_asked_is_no_constraint(format: str) -> None:
    assert from_body(format) is None
    assert constraint(ChatRequest().format) is None


def test_json_is_any_object() -> None:
    assert from_body('"json"') == Constraint("json")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"z": {"type": "string"}, "a": {"enum": ["ä", "\n"]}}},
        {"type": "string", "grammar": "start: /a/"},
        {"const": 1e300},
    ],
)
def test_an_object_is_a_schema_whose_keys_keep_their_order(schema: dict[str, Any]) -> None:
    found = from_body(json.dumps(schema))
    assert found is not None
    assert found.kind == "schema"
    assert json.dumps(json.loads(found.text)) == json.dumps(schema)


def test_an_object_with_grammar_alone_is_a_grammar() -> None:
    assert from_body(r'{"grammar": "start: \"yes\" | \"no\""}') == Constraint(
        "grammar", 'start: "yes" | "no"'
    )


def test_a_grammar_must_be_text() -> None:
    assert refusal('{"grammar": ["yes"]}') == "invalid format: grammar must be a string"


@pytest.mark.parametrize(
    ("format", "quoted"),
    [
        ('"xml"', r'"\"xml\""'),
        ('"JSON"', r'"\"JSON\""'),
        ("5", '"5"'),
        ("true", '"true"'),
        ('["json"]', r'"[\"json\"]"'),
    ],
)
def test_all_else_is_refused_in_the_words_of_ollama(format: str, quoted: str) -> None:
    expected = f'invalid format: {quoted}; expected "json" or a valid JSON Schema object'
    assert refusal(format) == expected
