"""The names of parsers, and the capabilities that they give."""

from __future__ import annotations

import pytest
from oracle import index
from whole import parse, tool

from jupyter_ollama.parsing.parsers import PARSERS, named_parser
from jupyter_ollama.parsing.style_selection import parser_for, style_for


@pytest.mark.parametrize("name", list(index()))
def test_capabilities_are_those_of_ollama(name: str) -> None:
    known = named_parser(name)
    assert known is not None
    assert (known.has_tools, known.thinks) == (index()[name]["tools"], index()[name]["thinking"])
    assert style_for(name, jinja="<|channel|>", architecture="llama") is known.style


def test_other_names_are_not_known() -> None:
    assert PARSERS.keys() == index().keys()
    for name in ("", "qwen", "qwen3-", "Qwen3", "qwen3-coder-next", "no-such-parser"):
        assert named_parser(name) is None


def test_calls_are_read_without_tools_if_the_prompt_may_have_shown_some() -> None:
    text = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    style = style_for("qwen3")
    assert parse(lambda: parser_for(style, "<|im_start|>assistant\n"), text)[2] == [("now", {})]
    assert parse(lambda: parser_for(style), text) == (text, "", [])


def test_a_single_character_at_the_end_is_not_a_tag() -> None:
    style, tools = style_for("qwen3"), [tool("now")]
    assert parse(lambda: parser_for(style, tools=tools), "1 <")[0] == "1 <"
    assert parse(lambda: parser_for(style, tools=tools), "1 <to")[0] == "1"


def test_a_turn_begun_by_the_prompt_continues_thinking() -> None:
    style = style_for("qwen3-thinking")
    begun = "<|im_start|>assistant\n<think>\nThe ship"
    assert parse(lambda: parser_for(style, begun), " left.</think>Yes.") == ("Yes.", " left.", [])
    earlier = "<|im_start|>user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n"
    assert parse(lambda: parser_for(style, earlier), "A tag.") == ("A tag.", "", [])


def test_harmony_gives_tools_their_names_back() -> None:
    tools = [tool("sea.map"), tool("sea-map"), tool("7 seas!"), tool("browser.open")]
    for written, name in {
        "functions.sea_map": "sea.map",
        "functions.sea_map_2": "sea-map",
        "functions._7_seas": "7 seas!",
        "browser.open": "browser.open",
        "functions.other": "other",
    }.items():
        text = f"<|channel|>commentary to={written}<|message|>{{}}<|call|>"
        found = parse(lambda: parser_for(style_for("harmony"), tools=tools), text)
        assert found == ("", "", [(name, {})])


def test_two_calls_in_one_tag() -> None:
    call = '{"name": "now", "arguments": {}}'
    answer = parse(
        lambda: parser_for(style_for("qwen3"), tools=[tool("now")]),
        f"<tool_call>{call}\n{call}</tool_call>{{}}",
    )
    assert answer == ("{}", "", [("now", {}), ("now", {})])
