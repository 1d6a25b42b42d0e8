from __future__ import annotations

import math
from typing import Any

import pytest

from jupyter_ollama.api.decoding import decode
from jupyter_ollama.api.wire import ChatRequest, EmbedRequest, GenerateRequest
from jupyter_ollama.errors import OllamaError


def generate(body: str | bytes) -> GenerateRequest:
    return decode(body if isinstance(body, bytes) else body.encode(), GenerateRequest)


def refusal(body: str | bytes, into: type[Any] = ChatRequest) -> str:
    with pytest.raises(OllamaError) as caught:
        decode(body if isinstance(body, bytes) else body.encode(), into)
    assert caught.value.status == 400
    return caught.value.message


def test_bytes_after_the_first_value_are_ignored() -> None:
    assert generate('\n {"model": "m"} {"model": "n"} trailing').model == "m"


def test_field_names_match_in_any_case() -> None:
    request = generate('{"MODEL": "m", "Prompt": "p", "Keep_Alive": 3, "_Debug_Render_Only": true}')
    assert (request.model, request.prompt, request.keep_alive) == ("m", "p", 3)
    assert request.debug_render_only


def test_option_names_keep_their_case() -> None:
    assert generate('{"options": {"Num_Ctx": 1}}').options == {"Num_Ctx": 1}


def test_unknown_fields_are_ignored() -> None:
    assert generate('{"model": "m", "temperature": "hot", "nope": [1]}').model == "m"


def test_null_leaves_the_default() -> None:
    fields = ["model", "stream", "options", "keep_alive", "think", "context", "truncate", "raw"]
    request = generate("{" + ",".join(f'"{name}": null' for name in fields) + "}")
    assert request == GenerateRequest()
    assert generate("null") == GenerateRequest()
    assert request.stream
    assert request.truncate is None


def test_null_inside_a_list_is_the_empty_value() -> None:
    request = decode(b'{"messages": [null, {"role": "user", "content": null}]}', ChatRequest)
    assert [(m.role, m.content) for m in request.messages] == [("", ""), ("user", "")]


def test_of_duplicates_the_last_wins() -> None:
    assert generate('{"model": "a", "model": "b"}').model == "b"
    assert generate('{"model": "a", "Model": "b"}').model == "b"


def test_nested_messages_and_tool_calls() -> None:
    body = b"""{"messages": [{"Role": "assistant", "tool_calls": [
        {"id": "call_1", "function": {"name": "f", "arguments": {"z": 1, "a": {"b": [null]}}}},
        {}
    ]}]}"""
    calls = decode(body, ChatRequest).messages[0].tool_calls
    assert list(calls[0].function.arguments) == ["z", "a"]
    assert (calls[1].function.name, calls[1].function.arguments) == ("", {})


def test_broken_utf8_and_lone_surrogates_are_replaced() -> None:
    assert generate(b'{"prompt": "a\xffb"}').prompt == "a\ufffdb"
    assert generate('{"prompt": "a\\ud800b"}').prompt == "a\ufffdb"
    assert generate('{"prompt": "\\ud83d\\ude00"}').prompt == "\U0001f600"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("nope", "invalid character 'n' looking for beginning of value"),
        ('{"model": x}', "invalid character 'x' looking for beginning of value"),
        ('{"model": NaN}', "invalid character 'N' looking for beginning of value"),
        (
            "{}}".replace("{}", "{,"),
            "invalid character ',' looking for beginning of object key string",
        ),
        ('{"model": "m",}', "invalid character '}' looking for beginning of object key string"),
        ('{"model" "m"}', "invalid character '\"' after object key"),
        ('{"model": "m"', "unexpected EOF"),
        ('{"model": "m', "unexpected EOF"),
        ("{", "unexpected EOF"),
        ('{"model": "\n"}', "invalid character '\\n' in string literal"),
    ],
)
def test_invalid_json_has_the_errors_of_go(body: str, message: str) -> None:
    assert refusal(body) == message


def test_deep_nesting_is_refused() -> None:
    assert refusal('{"options": ' + "[" * 200_000) == "exceeded max depth"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '{"messages": "hi"}',
            "json: cannot unmarshal string into CR.messages of type []api.Message",
        ),
        (
            '{"messages": [{"content": []}]}',
            "json: cannot unmarshal array into CR.messages.content of type string",
        ),
        ('{"model": 7}', "json: cannot unmarshal number into CR.model of type string"),
        ('{"stream": "no"}', "json: cannot unmarshal string into CR.stream of type bool"),
        (
            '{"top_logprobs": 1.5}',
            "json: cannot unmarshal number 1.5 into CR.top_logprobs of type int",
        ),
        (
            '{"top_logprobs": true}',
            "json: cannot unmarshal bool into CR.top_logprobs of type int",
        ),
        (
            '{"options": []}',
            "json: cannot unmarshal array into CR.options of type map[string]interface {}",
        ),
        ("[]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
    ],
)
def test_wrong_types_have_the_errors_of_go(body: str, message: str) -> None:
    assert refusal(body) == message.replace("CR.", "Go struct field ChatRequest.")


def test_integers_beyond_64_bits_are_refused() -> None:
    assert "cannot unmarshal number" in refusal(
        '{"context": [99999999999999999999]}', GenerateRequest
    )


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400, "1" * 5000])
def test_numbers_that_no_float_holds_are_refused(number: str) -> None:
    message = "json: cannot unmarshal number into Go struct field ChatRequest.FIELD of type float64"
    for field in ("options", "keep_alive"):
        body = (
            f'{{"FIELD": {{"a": [{number}]}}}}' if field == "options" else f'{{"FIELD": {number}}}'
        )
        assert refusal(body.replace("FIELD", field)) == message.replace("FIELD", field)
    assert "cannot unmarshal number" in refusal(f'{{"context": [{number}]}}', GenerateRequest)


def test_large_integers_in_free_form_values_become_floats() -> None:
    options = generate(f'{{"options": {{"a": [{10**30}, {-(2**63)}, {2**63 - 1}, true]}}}}').options
    assert options == {"a": [1e30, -(2**63), 2**63 - 1, True]}
    assert [type(item) for item in options["a"]] == [float, int, int, bool]


def test_nesting_that_only_some_encoders_take_is_refused() -> None:
    body = '{"options": {"a": %s}}'
    assert generate(body % ("[" * 100 + "]" * 100)).options["a"]
    assert refusal(body % ("[" * 500 + "]" * 500)) == "exceeded max depth"


@pytest.mark.parametrize("value", ["true", "false", '"low"', '"medium"', '"high"', '"max"'])
def test_think_values(value: str) -> None:
    assert str(generate(f'{{"think": {value}}}').think).lower() == value.strip('"')


def test_bad_think_values() -> None:
    accepted = '"high", "medium", "low", "max", true, or false'
    assert refusal('{"think": "hard"}') == f'invalid think value: "hard" (must be {accepted})'
    assert refusal('{"think": 1}') == f"think must be a boolean or string ({accepted})"


def test_keep_alive_is_read_with_the_body() -> None:
    assert decode(b'{"keep_alive": "-1s"}', EmbedRequest).keep_alive == math.inf
    assert refusal('{"keep_alive": "10"}') == 'time: missing unit in duration "10"'


def test_a_union_takes_what_fits() -> None:
    from jupyter_ollama.library.create import CreateRequest

    assert decode(b'{"license": "MIT"}', CreateRequest).license == "MIT"
    request = decode(b'{"license": ["MIT", "BSD"], "from": "m", "system": null}', CreateRequest)
    assert (request.license, request.from_, request.system) == (["MIT", "BSD"], "m", None)
    message = "number into Go struct field CreateRequest.license of type string"
    assert refusal('{"license": 1}', CreateRequest) == f"json: cannot unmarshal {message}"
