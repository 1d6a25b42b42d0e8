"""For any output of a model, however it is cut: no text is lost or repeated."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole import fed, joined, tool

from jupyter_ollama.parsing.style_selection import parser_for, style_for
from jupyter_ollama.parsing.styles import STYLES, Style
from jupyter_ollama.parsing.tagged import TaggedAnswer

TOOLS = [tool("find", what="string", limit="integer"), tool("find_all"), tool("now")]
GENERIC = [
    style_for(go="{{ .Messages }}{{ if .ToolCalls }}" + tag + "{{ .Tools }}{{ end }}")
    for tag in ("<c>", "", "[")
]
WORDS = """
{ } [ ] ( ) " ' \\ : , = < > | / a é 🌦 find find_all now what name arguments 1 true null
{"name":"now","arguments":{}} find(what="x") [now()] <think> </think> <tool_call> </tool_call>
<function= </function> <parameter= </parameter> <arg_key> </arg_key> <arg_value> </arg_value>
[TOOL_CALLS] [ARGS] [THINK] [/THINK] <|channel|> <|message|> <|start|> <|end|> <|call|> assistant
final analysis commentary to=functions.now <c>
"""
BITS = [*WORDS.split(), " ", "\n", "\t"]


def pieces_of(style: Style) -> st.SearchStrategy[str]:
    """Make random texts from the elements of the formats."""
    own = [*style.blocks, *style.dropped, *(tag for pair in style.thinking for tag in pair)]
    return st.lists(st.sampled_from([*BITS, *own, *own]), max_size=25).map("".join)


@pytest.mark.parametrize("style", [*STYLES, *GENERIC], ids=lambda style: str(style.parsers))
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_cuts_make_no_difference(style: Style, data: st.DataObject) -> None:
    text = data.draw(pieces_of(style))
    prompt = data.draw(st.sampled_from(["", *(begin for begin, _ in style.thinking)]))
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    cut = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    whole = joined(fed(parser_for(style, prompt, TOOLS), [text]))
    assert joined(fed(parser_for(style, prompt, TOOLS), cut)) == whole
    assert joined(fed(parser_for(style, prompt, TOOLS), list(text))) == whole


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text())
def test_text_without_tags_is_unchanged(text: str) -> None:
    for style in STYLES:
        if not any(mark in text for mark in '<[{"\x00'):
            content, thinking, calls = joined(fed(parser_for(style, "", TOOLS), list(text)))
            assert (content, thinking, calls) == (text, "", [])


def test_text_is_emitted_without_delay() -> None:
    parser = parser_for(style_for("qwen3"), tools=TOOLS)
    for piece in ("One", " two", " <", "b>", " three"):
        parser.feed(piece)
    parts = fed(parser_for(style_for("qwen3"), tools=TOOLS), ["One", " two", " <", "b>", " three"])
    assert [part.content for part in parts] == ["One", " two", "", " <b>", " three", ""]


@pytest.mark.parametrize(
    "text",
    [
        "word " * 20_000,
        " " * 100_000,
        "<" * 100_000,
        "<think>" + "word\n" * 20_000,
        "<tool_call>" + "\n" * 100_000,
        '<tool_call>{"name": "find", "arguments": {"what": "' + '\\" {' * 25_000,
        "<tool_call><function=find><parameter=what>" + "</parameter> \n" * 8_000,
        "<tool_call>find<arg_key>what</arg_key><arg_value>" + "</tool_call>  " * 8_000,
    ],
    ids=["words", "blanks", "brackets", "thinking", "no call", "JSON", "markup", "GLM"],
)
def test_little_text_waits(text: str) -> None:
    parser = parser_for(style_for("qwen3"), tools=TOOLS)
    assert isinstance(parser, TaggedAnswer)
    longest = 0
    for character in text:
        parser.feed(character)
        longest = max(longest, len(parser.reader))
    parser.finish()
    assert longest < 2048
