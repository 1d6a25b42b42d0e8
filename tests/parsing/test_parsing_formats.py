"""The formats that a model's config can name, with common deviations of models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole import fed, joined, parse, tool

from jupyter_ollama.parsing.format import Format
from jupyter_ollama.parsing.parsers import PARSERS
from jupyter_ollama.parsing.style_selection import parser_for, style_for

TOOLS = [
    tool("find", what="string", limit="integer", exact="boolean", ratio="number", where="object"),
    tool("now"),
    tool("read", path="string"),
]
TEA = ("find", {"what": "tea"})
NOW: tuple[str, dict[str, Any]] = ("now", {})

GEMMA = "<|tool_call>call:{}<tool_call|>".format
LFM2 = "<|tool_call_start|>{}<|tool_call_end|>".format
ELEMENTS = "<tool_call>{}</tool_call>".format
ACTIONS = "<|START_ACTION|>{}<|END_ACTION|>".format
KEYED = "<arg_key>what</arg_key><arg_value>tea</arg_value>"
ATEM = "<atem:function_calls>{}</atem:function_calls>".format
INVOKE = (
    '<atem:invoke name="find">\n<atem:parameter name="what">{}</atem:parameter>\n</atem:invoke>'
)


def of(parser: str, text: str, prompt: str = "...", *, think: bool = True) -> Any:
    """Parse an answer for a named parser, whole and cut."""
    return parse(lambda: parser_for(style_for(parser), prompt, TOOLS, think), text)


CALLS: list[tuple[str, str, Any]] = [
    ("gemma4", GEMMA("find{what:'tea'}"), TEA),
    ("gemma4", GEMMA('find{"what":"te\\"a"}'), ("find", {"what": 'te"a'})),
    ("gemma4", GEMMA("find{what:tea, or so, limit:3}"),
     ("find", {"what": "tea, or so", "limit": 3})),
    ("gemma4", GEMMA('find{what:<|"|>tea}'), TEA),
    ("gemma4", GEMMA('find{where:{in:[<|"|>tea]}}'), ("find", {"where": {"in": ["tea"]}})),
    ("gemma4", GEMMA('find{what:<|"|>a<tool_call|> b<|"|>}'),
     ("find", {"what": "a<tool_call|> b"})),
    ("gemma4", GEMMA("find{ratio:3.0,limit:1e2}"), ("find", {"ratio": 3, "limit": 100})),
    ("gemma4", GEMMA("find{some key:1,what:tea}"), ("find", {"some key": 1, "what": "tea"})),
    ("gemma4", GEMMA("now"), NOW),
    ("functiongemma", "<start_function_call>call:find{what:<escape>tea}<end_function_call>", TEA),
    ("lfm2", LFM2("find(what=tea)"), TEA),
    ("lfm2", LFM2("find(what='t\nea', limit=2.0)"), ("find", {"what": "t\nea", "limit": 2})),
    ("lfm2", LFM2("a-b.c(d-e=[1, 'x'])"), ("a-b.c", {"d-e": [1, "x"]})),
    ("lfm2", LFM2('find(what="a), b=(c")'), ("find", {"what": "a), b=(c"})),
    ("glm-4.7", ELEMENTS("find" + KEYED.replace("</arg_key>", "")), TEA),
    ("glm-4.7", ELEMENTS("find what</arg_key><arg_value>tea</arg_value>"), TEA),
    ("glm-4.7", ELEMENTS("find<arg_key>what</arg_key>tea</arg_value>"), TEA),
    ("glm-4.7", ELEMENTS("find<arg_key>what</arg_key><arg_value>tea"), TEA),
    ("glm-4.7", ELEMENTS("find<arg_key>more</arg_key><arg_value>\n1\n</arg_value>"),
     ("find", {"more": "1"})),
    ("glm-4.7", ELEMENTS("find<arg_key>exact</arg_key><arg_value>maybe</arg_value>"),
     ("find", {"exact": False})),
    ("glm-4.7", "<tool_call>now", NOW),
    ("laguna", ELEMENTS('find {"what": "tea"}'), TEA),
    ("laguna", ELEMENTS("read_file<arg_key>path</arg_key><arg_value>a</arg_value>"),
     ("read", {"path": "a"})),
    ("laguna", ELEMENTS('{"name": "read_file", "arguments": {}}'), ("read", {})),
    ("poolside-v1", "<user>\nread_file\n</user>", ("read", {})),
    ("cohere", ACTIONS('[{"tool_name": "now"} {bad}, {]'), NOW),
    ("glimmer", " to=now<|message|>{}", NOW),
    ("glimmer", " to=find.find<|message|>" + ATEM(INVOKE.format("tea")), TEA),
    ("glimmer", " to=find<|message|>" + ATEM(INVOKE.format("a</atem:parameter>b")),
     ("find", {"what": "a</atem:parameter>b"})),
    ("glimmer", "<|message|>" + ATEM(INVOKE.format("tea").replace('find">', 'find<|message|>">')),
     TEA),
]  # fmt: skip


@pytest.mark.parametrize(("parser", "text", "call"), CALLS)
def test_calls_are_read_in_the_forms_that_models_write(parser: str, text: str, call: Any) -> None:
    assert of(parser, text) == ("", "", [call])


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        ("gemma4", "<|tool_call>call:now{}<tool_cal"),
        ("functiongemma", "<start_function_call>call:now{}<end_function_ca"),
        ("lfm2", "<|tool_call_start|>now()<|tool_call_e"),
        ("glm-4.7", "<tool_call>now</tool_ca"),
        ("laguna", "<tool_call>now</tool_ca"),
        ("cohere", '<|START_ACTION|>[{"tool_name": "now"}]<|END_ACT'),
        ("glimmer", ' to=now<|message|>' + ATEM('<atem:invoke name="now"></atem:invoke>')[:-9]),
    ],
)  # fmt: skip
def test_an_end_tag_that_is_cut_off_is_not_content(parser: str, text: str) -> None:
    assert of(parser, text) == ("", "", [NOW])


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        ("gemma4", '<|tool_call>call:find{what:<|"|>te'),
        ("gemma4", "<|tool_call>call:find{wh}<tool_call|>"),
        ("gemma4", GEMMA("find{where:" + "[" * 5000 + "]" * 5000 + "}")),
        ("lfm2", "<|tool_call_start|>find(what='te"),
        ("lfm2", LFM2("find it (if you can")),
        ("glm-4.7", "<tool_call>find<arg_key>what</arg_key><arg_value>te"),
        ("glm-4.7", "<tool_call>fin"),
        ("laguna", "<tool_call>find" + KEYED + "<arg_key>limit</arg_"),
        ("laguna", "<user>some text</user> more"),
        ("cohere", ACTIONS("[{bad}]")),
    ],
)
def test_incomplete_calls_stay_content(parser: str, text: str) -> None:
    assert of(parser, text) == (text, "", [])


THOUGHTS: list[tuple[str, str, str, bool, tuple[str, str]]] = [
    ("gemma4", "", "a <|channel>thought\nb\n<channel|> c", True, ("a  c", "b")),
    ("gemma4", "", "<|channel>plan\nb<channel|>c", True, ("c", "plan\nb")),
    ("gemma4", "", "<|channel>thought\nb<channel|>c", False, ("c", "")),
    ("gemma4-no-thinking", "", "<|channel>thought\nb", False, ("", "")),
    ("glm-4.7", "</think>", "<think>b</think>c", False, ("c", "b")),
    ("glm-ocr", "", "<think>b</think>c", False, ("c", "b")),
    ("laguna", "<think>", "<think>\nb\n</think>\nc<think>d</think>e\n", True, ("ce", "bd")),
    ("laguna", "</think>", "\nc<think>d</think>e</think>\nf", False, ("cef", "")),
    ("lfm2", "", "<think>b</think>c", False, ("<think>b</think>c", "")),
    ("lfm2-thinking", "", "<think>b</think>c", True, ("c", "b")),
    ("cohere", "<|START_THINKING|>", "b<|END_THINKING|>\n<|START_TEXT|> c <|END_TEXT|>\n", True,
     (" c ", "b")),
    ("glimmer", "", " to=self<|message|>b<|eom|><|start|>assistant to=user<|message|>c", True,
     ("c", "b")),
    ("glimmer", "", " to=self<|message|>b<|start|>assistant<|message|>c<|eot|>", False, ("c", "")),
    ("glimmer", "", "a <|start|>assistant b", True, ("a <|start|>assistant b", "")),
]  # fmt: skip


@pytest.mark.parametrize(("parser", "prompt", "text", "think", "parts"), THOUGHTS)
def test_thinking_and_content(
    parser: str, prompt: str, text: str, think: bool, parts: tuple[str, str]
) -> None:
    assert of(parser, text, prompt or "...", think=think) == (*parts, [])


def test_a_call_ends_lagunas_thinking() -> None:
    answer = of("laguna", "I look.\n" + ELEMENTS("now") + "So.", "<think>")
    assert answer == ("So.", "I look.", [NOW])
    assert of("laguna", "A <tool_call> tag", "<think>") == ("", "A <tool_call> tag", [])


def test_marks_behind_gemmas_calls_are_not_content() -> None:
    text = GEMMA("now{}") + "<tool_call|> <|tool_response>\n" + GEMMA("now{}") + "\n\nSo."
    assert of("gemma4", text) == ("So.", "", [NOW, NOW])


def test_glimmer_thinks_until_a_message_for_others() -> None:
    parser = parser_for(style_for("glimmer"), "", TOOLS, think=True)
    seen = []
    for piece in (" to=self<|message|>", "a<|eom|>", "<|start|>assistant to=user", "<|message|>"):
        parser.feed(piece)
        seen.append(parser.thinking)
    assert seen == [True, True, True, False]


WORDS = """
{ } [ ] ( ) " ' \\ : , = < > a é find now what 1 true {"name":"now","arguments":{}} now() thought
{"tool_name":"now","parameters":{}} find(what="x") call:find{ what: <|"|> <escape> <think> </think>
<tool_call> </tool_call> <arg_key> </arg_key> <arg_value> </arg_value> <function=now> </function>
<parameter=what> </parameter> <|tool_response> <tool_call|> <|tool_call_end|> <|END_ACTION|>
<end_function_call> <|start|>assistant <|message|> <|eom|> to=user to=self to=find find">
<atem:function_calls> </atem:function_calls> <atem:invoke name=" </atem:invoke> </user> read_file
<atem:parameter name="what"> </atem:parameter> [TOOL_CALLS] [ARGS] [/THINK] </function_calls>
"""
BITS = [*WORDS.split(), '<atem:invoke name="', " ", "\n", "  "]


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_cuts_make_no_difference(name: str, data: st.DataObject) -> None:
    style = PARSERS[name].style
    tags = [tag for pair in style.thinking for tag in pair]
    own = [*style.blocks, *style.dropped, *tags]
    own += style.interrupts if isinstance(style, Format) else ()
    text = data.draw(st.lists(st.sampled_from([*BITS, *own * 4]), max_size=22).map("".join))
    prompt = data.draw(st.sampled_from(["", "...", *tags]))
    think = data.draw(st.booleans())
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    cut = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    whole = joined(fed(parser_for(style, prompt, TOOLS, think), [text]))
    assert joined(fed(parser_for(style, prompt, TOOLS, think), cut)) == whole
    assert joined(fed(parser_for(style, prompt, TOOLS, think), list(text))) == whole
