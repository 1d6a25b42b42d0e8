"""Forms of calls that the recorded answers lack, or have too few of."""

# ruff: noqa: RUF001 (DeepSeek's marks contain full-width bars)

from __future__ import annotations

from typing import Any

import pytest
from whole import parse, tool

from jupyter_ollama.parsing.style_selection import parser_for, style_for

TOOLS = [
    tool("find", what="string", limit="integer"),
    tool("now"),
    tool("tag", labels="array", exact="boolean"),
]
TEA = ("find", {"what": "tea"})
TWO = ("find", {"what": "tea", "limit": 2})
NOW: tuple[str, dict[str, Any]] = ("now", {})
CALL = '{"name": "find", "arguments": {"what": "tea"}}'

CASES: list[tuple[str, str, str, list[Any]]] = [
    ("granite", f"<|tool_call|>[{CALL}]", "", [TEA]),
    ("granite", f'Well.\n<|tool_call|>[{CALL}, {{"name": "now"}}]', "Well.", [TEA, NOW]),
    ("granite", "<|tool_call|> is a tag", "<|tool_call|> is a tag", []),
    ("phi", f"<|tool_call|>[{CALL}]<|/tool_call|>", "", [TEA]),
    ("phi", f"functools[{CALL}]", "", [TEA]),
    ("phi", "functools is a module", "functools is a module", []),
    (
        "cohere",
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "find", '
        '"parameters": {"what": "tea"}}]<|END_ACTION|>',
        "",
        [TEA],
    ),
    ("cohere", "<|START_RESPONSE|>Hello.<|END_RESPONSE|>", "Hello.", []),
    (
        "command-r",
        'Action: ```json\n[{"tool_name": "find", "parameters": {"what": "tea"}}]\n```',
        "",
        [TEA],
    ),
    ("command-r", "Action: none is needed", "Action: none is needed", []),
    ("lfm2", '<|tool_call_start|>[find(what="tea", limit=2)]<|tool_call_end|>', "", [TWO]),
    ("lfm2", f"<|tool_call_start|>[{CALL}]<|tool_call_end|>", "", [TEA]),
    ("lfm2", '<|tool_call_start|>find("tea", 2)<|tool_call_end|>So.', "So.", [TWO]),
    ("olmo3", "<function_calls>\nfind(what='tea')\nnow()\n</function_calls>", "", [TEA, NOW]),
    ("gemma3", "[tag(labels=['a', ('b',), None], exact=true)]", "",
     [("tag", {"labels": ["a", ["b"], None], "exact": True})]),
    ("gemma3", "[a link](b) is no call", "[a link](b) is no call", []),
    ("gemma3", "[fly(to='Ulm')]", "[fly(to='Ulm')]", []),
    ("gemma3", "[find(**x)]", "[find(**x)]", []),
    ("gemma3", "[find(what=open('x'))]", "[find(what=open('x'))]", []),
    (
        "functiongemma",
        "<start_function_call>call:find{what:<escape>tea, {x}<escape>,limit:2}<end_function_call>",
        "",
        [("find", {"what": "tea, {x}", "limit": 2})],
    ),
    (
        "gemma4",
        '<|tool_call>call:tag{labels:[],exact:False,more:{},<|"|>a b<|"|>:x y}<tool_call|>',
        "",
        [("tag", {"labels": [], "exact": "False", "more": {}, "a b": "x y"})],
    ),
    ("gemma4", "<|tool_call>call:find{what}<tool_call|>", "<|tool_call>call:find{what}<tool_call|>",
     []),
    (
        "minimax",
        '<minimax:tool_call>\n<invoke name="find">\n<parameter name="what">tea</parameter>\n'
        '<parameter name="limit">2</parameter>\n</invoke>\n</minimax:tool_call>',
        "",
        [TWO],
    ),
    (
        "deepseek3",
        '<｜tool▁call▁begin｜>function<｜tool▁sep｜>find\n```json\n{"what": "tea"}\n```'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
        [TEA],
    ),
    ("ministral", '[TOOL_CALLS]find{"what": "tea"}', "", [TEA]),
    ("ministral", "[TOOL_CALLS][]", "", []),
    ("ministral", f"[TOOL_CALLS] [{CALL}][/TOOL_CALLS]", "", [TEA]),
    ("llama3.2", f"{CALL}; {CALL}", "", [TEA, TEA]),
    ("llama3.2", f"{CALL} And more.", " And more.", [TEA]),
    ("llama3.2", '<|python_tag|>print("hi")', '<|python_tag|>print("hi")', []),
    ("llama3.2", '{"name": "fly", "parameters": {}}', '{"name": "fly", "parameters": {}}', []),
    ("qwen3", f"<tool_call>{CALL}</tool_call>\n\nDone.", "Done.", [TEA]),
    ("qwen3", "<tool_call>{bad}</tool_call>!", "<tool_call>{bad}</tool_call>!", []),
    (
        "qwen3",
        '<tool_call>{"name": "find", "arguments": {"what": 1}</tool_call>'
        f"<tool_call>{CALL}</tool_call>",
        '<tool_call>{"name": "find", "arguments": {"what": 1}</tool_call>',
        [TEA],
    ),
    ("qwen3", '<tool_call>{"name": "now"}</tool_call>', "", [NOW]),
    ("qwen3", '<tool_call>{"now": {}}</tool_call>', "", [NOW]),
    ("qwen3", '<tool_call>{"name": "find", "arguments": "{\\"what\\": \\"tea\\"}"}</tool_call>', "",
     [TEA]),
    ("qwen3", '<tool_call>{"name": "find", "arguments": {"what": "a\nb"}}</tool_call>', "",
     [("find", {"what": "a\nb"})]),
    (
        "qwen3-coder",
        "<tool_call>\n<function=now>\n</function>\n<function=find>\n<parameter=what>\ntea\n"
        "</parameter>\n</function>\n</tool_call>",
        "",
        [NOW, TEA],
    ),
    ("glm-4.6", "<tool_call>not a call</tool_call>", "<tool_call>not a call</tool_call>", []),
    ("harmony", "Just text, no header.", "Just text, no header.", []),
    ("harmony", "<|channel|>commentary to=functions.now<|message|><|call|>", "", [NOW]),
    ("harmony", "<|channel|>commentary to=find<|message|>{bad}<|call|>", "{bad}", []),
    ("passthrough", f"<tool_call>{CALL}</tool_call>", f"<tool_call>{CALL}</tool_call>", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "content", "calls"), CASES)
def test_calls_of_families(name: str, text: str, content: str, calls: list[Any]) -> None:
    style = style_for(name)
    assert parse(lambda: parser_for(style, tools=TOOLS), text) == (content, "", calls)


@pytest.mark.parametrize(
    "name", ["qwen3", "ministral", "deepseek3", "llama3.2", "gemma4", "kimi-k2"]
)
def test_without_tools_nothing_is_a_call(name: str) -> None:
    text = f"<tool_call>{CALL}</tool_call> [TOOL_CALLS]{CALL} <|python_tag|>{CALL}"
    assert parse(lambda: parser_for(style_for(name)), text) == (text, "", [])


@pytest.mark.parametrize(
    "arguments",
    [
        '{"what": "\\ud83d"}',
        '{"what": NaN}',
        '{"what": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"limit": ' + "9" * 5000 + "}",
        '{"limit": 1e999}',
    ],
    ids=["half a character", "NaN", "nested", "long number", "infinite"],
)
def test_arguments_that_cannot_be_sent_on_stay_content(arguments: str) -> None:
    text = f'<tool_call>{{"name": "find", "arguments": {arguments}}}</tool_call>'
    assert parse(lambda: parser_for(style_for("qwen3"), tools=TOOLS), text) == (text, "", [])


def test_calls_are_emitted_as_soon_as_they_are_complete() -> None:
    parser = parser_for(style_for("qwen3"), tools=TOOLS)
    assert parser.feed("<tool_call>\n" + CALL[:-1]).tool_calls == []
    [call] = parser.feed(CALL[-1]).tool_calls
    assert call.function.name == "find"
    [second] = parser.feed("\n</tool_call>\n<tool_call>" + CALL).tool_calls
    assert (call.function.index, second.function.index) == (0, 1)


def test_calls_have_ids_of_their_own() -> None:
    parser = parser_for(style_for("qwen3"), tools=TOOLS)
    calls = parser.feed(f"<tool_call>{CALL}</tool_call>" * 20).tool_calls
    assert len({call.id for call in calls}) == 20
    for call in calls:
        prefix, _, rest = call.id.partition("_")
        assert prefix == "call"
        assert len(rest) == 8
        assert rest.isalnum()
        assert rest == rest.lower()


def test_the_order_of_arguments_is_kept() -> None:
    parser = parser_for(style_for("qwen3"), tools=TOOLS)
    [call] = parser.feed(
        '<tool_call>{"name": "find", "arguments": {"z": 1, "a": 2, "m": 3}}</tool_call>'
    ).tool_calls
    assert list(call.function.arguments) == ["z", "a", "m"]
