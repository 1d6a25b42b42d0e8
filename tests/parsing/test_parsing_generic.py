"""Calls after a tag inferred from the template, found by the names of the tools."""

from __future__ import annotations

from typing import Any

import pytest
from whole import fed, parse, tool

from jupyter_ollama.parsing.parsed import Parser
from jupyter_ollama.parsing.style_selection import parser_for, style_for

TOOLS = [
    tool("find", what="string"),
    tool("find_hotel", city="string", stars="integer"),
    tool("book", room="object"),
    tool("add", a="integer", b="integer"),
    tool("now"),
]
HOTEL = ("find_hotel", {"city": "Ulm"})
FIND = ("find", {"what": "tea"})
NOW: tuple[str, dict[str, Any]] = ("now", {})
CITY = '{"name": "find_hotel", "arguments": {"city": "Ulm"}}'
TEA = '{"name": "find", "arguments": {"what": "tea"}}'


def parser(tag: str) -> Parser:
    """Make the parser for a template with this tag."""
    body = "" if tag == "{" else tag
    template = "{{ .Messages }}{{ if .ToolCalls }}" + body + "{{ json .ToolCalls }}{{ end }}"
    return parser_for(style_for(go=template), tools=TOOLS)


TAG = "<toolcall>"
TAGGED: list[tuple[str, str, list[Any]]] = [
    # content, and its end
    ("", "", []),
    ("Hello.", "Hello.", []),
    ("  Hello.\n", "  Hello.\n", []),
    ("a < b > c", "a < b > c", []),
    ("<", "<", []),
    ("<tool", "<tool", []),
    ("<toolcall", "<toolcall", []),
    ("<toolbox> is no tag", "<toolbox> is no tag", []),
    ("<<toolcall>" + CITY, "<", [HOTEL]),
    ("<tool<toolcall>" + CITY, "<tool", [HOTEL]),
    (TAG + CITY, "", [HOTEL]),
    ("Let me see. " + TAG + CITY, "Let me see. ", [HOTEL]),
    ("One\n\n" + TAG + "\n" + CITY, "One\n\n", [HOTEL]),
    (CITY, CITY, []),
    ("find_hotel is a tool", "find_hotel is a tool", []),
    # several calls
    (TAG + CITY + TEA, "", [HOTEL, FIND]),
    (TAG + f"[{CITY}, {TEA}]", "", [HOTEL, FIND]),
    (TAG + CITY + "</toolcall>\n" + TAG + TEA, "", [HOTEL, FIND]),
    (TAG + CITY + CITY, "", [HOTEL, HOTEL]),
    (TAG + CITY + "\n" + TEA + "\n" + CITY, "", [HOTEL, FIND, HOTEL]),
    (TAG + f'{{"calls": [{CITY}, {TEA}]}}', "", [HOTEL, FIND]),
    (TAG + CITY + ", " + TEA + "]", "", [HOTEL, FIND]),
    # names that begin alike
    (TAG + TEA, "", [FIND]),
    (TAG + 'find {"what": "tea"}', "", [FIND]),
    (TAG + 'find_hotel {"city": "Ulm"}', "", [HOTEL]),
    (TAG + 'find_hotels {"city": "Ulm"}', "", [HOTEL]),
    (TAG + 'find_ {"what": "tea"}', "", [FIND]),
    (TAG + 'finder {"what": "tea"}', "", [FIND]),
    (TAG + "find", "", []),
    (TAG + "find_hote", "", []),
    # the place of the arguments
    (TAG + '{"arguments": {"city": "Ulm"}, "name": "find_hotel"}', "", [HOTEL]),
    (TAG + '{"name": "find_hotel", "parameters": {"city": "Ulm"}}', "", [HOTEL]),
    (TAG + '{"parameters": {"city": "Ulm"}, "name": "find_hotel"}', "", [HOTEL]),
    (TAG + r'{"name": "find_hotel", "arguments": "{\"city\": \"Ulm\"}"}', "", [HOTEL]),
    (TAG + r'{"name": "find_hotel", "parameters": "{\"city\": \"Ulm\"}"}', "", [HOTEL]),
    (TAG + '{"find_hotel": {"city": "Ulm"}}', "", [HOTEL]),
    (TAG + '{"calls": [{"find_hotel": {"city": "Ulm"}}]}', "", [HOTEL]),
    (TAG + '{"a": {"b": {"name": "find_hotel", "arguments": {"city": "Ulm"}}}}', "", [HOTEL]),
    (TAG + '{"type": "function", "function": ' + CITY + "}", "", [HOTEL]),
    (TAG + '{"function": {"name": "now", "arguments": {}}}', "", [NOW]),
    (TAG + "find_hotel\n" + '{"city": "Ulm"}', "", [HOTEL]),
    (TAG + 'find_hotel({"city": "Ulm"})', "", [HOTEL]),
    (TAG + 'find_hotel[ARGS]{"city": "Ulm"}', "", [HOTEL]),
    (TAG + '"find_hotel": {"city": "Ulm"}', "", [HOTEL]),
    (TAG + 'function<sep>find_hotel\n```json\n{"city": "Ulm"}\n```<end>', "", [HOTEL]),
    (TAG + "now {}", "", [NOW]),
    (TAG + '{"name": "now", "arguments": {}}', "", [NOW]),
    (TAG + '{"name": "now", "parameters": {}}', "", [NOW]),
    # no arguments object, no call
    (TAG + '{"name": "now"}', "", []),
    (TAG + '{"name": "now", "arguments": null}', "", []),
    (TAG + '{"name": "now", "arguments": []}', "", []),
    (TAG + '{"name": "now", "arguments": "none"}', "", []),
    (TAG + '{"name": "now"}' + CITY, "", [HOTEL]),
    # tools that were not offered
    (TAG + '{"name": "fly", "arguments": {"to": "Ulm"}}', "", []),
    (TAG + '{"name": "fly", "arguments": {}}' + CITY, "", [HOTEL]),
    (TAG + "[]", "", []),
    (TAG + "{}", "", []),
    (TAG, "", []),
    (TAG + " ", "", []),
    # text between and after is dropped
    (TAG + "I will use " + CITY, "", [HOTEL]),
    (TAG + CITY + " done.", "", [HOTEL]),
    (TAG + CITY + "</toolcall>", "", [HOTEL]),
    (TAG + CITY + "]", "", [HOTEL]),
    (TAG + CITY + "}}}", "", [HOTEL]),
    (TAG + "no call at all", "", []),
    # values that look like the format
    (TAG + '{"name": "find", "arguments": {"what": "}"}}', "", [("find", {"what": "}"})]),
    (TAG + '{"name": "find", "arguments": {"what": "{"}}', "", [("find", {"what": "{"})]),
    (TAG + '{"name": "find", "arguments": {"what": "{}}"}}', "", [("find", {"what": "{}}"})]),
    (TAG + r'{"name": "find", "arguments": {"what": "\"}"}}', "", [("find", {"what": '"}'})]),
    (TAG + r'{"name": "find", "arguments": {"what": "\\"}}', "", [("find", {"what": "\\"})]),
    (TAG + r'{"name": "find", "arguments": {"what": "\\\""}}', "", [("find", {"what": '\\"'})]),
    (TAG + '{"name": "find", "arguments": {"what": "add"}}', "", [("find", {"what": "add"})]),
    (TAG + '{"name": "find", "arguments": {"what": "<toolcall>"}}', "", [("find", {"what": TAG})]),
    (
        TAG + '{"name": "find", "arguments": {"what": "["}}' + TEA,
        "",
        [("find", {"what": "["}), FIND],
    ),
    (TAG + '{"name": "find", "arguments": {"name": "x"}}', "", [("find", {"name": "x"})]),
    (TAG + '{"name": "find", "arguments": {"arguments": {}}}', "", [("find", {"arguments": {}})]),
    (TAG + 'find {"what": "now"} now {}', "", [("find", {"what": "now"}), NOW]),
    # kinds of values
    (TAG + 'add {"a": 1, "b": -2}', "", [("add", {"a": 1, "b": -2})]),
    (TAG + 'add {"b": 1.5, "a": 1e3}', "", [("add", {"b": 1.5, "a": 1000.0})]),
    (
        TAG + 'book {"room": {"beds": [1, {"x": null}], "sea": true}}',
        "",
        [("book", {"room": {"beds": [1, {"x": None}], "sea": True}})],
    ),
    (
        TAG + '{"name": "find", "arguments": {"what": "Zürich 東京 🌦️"}}',
        "",
        [("find", {"what": "Zürich 東京 🌦️"})],
    ),
    (
        TAG + r'{"name": "find", "arguments": {"what": "\u00fc\n\t"}}',
        "",
        [("find", {"what": "ü\n\t"})],
    ),
    (TAG + '{\n  "name": "find",\n  "arguments": {\n    "what": "tea"\n  }\n}', "", [FIND]),
    # broken JSON
    (TAG + '{"name": "find_hotel", "arguments": {"city": "Ulm"}', "", []),
    (TAG + '{"name": "find_hotel", "arguments": {"city": "Ul', "", []),
    (TAG + '{"name": "find_hotel", arguments: {"city": "Ulm"}}', "", []),
    (TAG + "{'name': 'find_hotel'}", "", []),
    (TAG + "{not JSON}" + CITY, "", [HOTEL]),
    (TAG + '{"a": 1,}' + CITY, "", [HOTEL]),
    (TAG + CITY + '{"name": "find", "arg', "", [HOTEL]),
    (TAG + "it's } " + CITY, "", [HOTEL]),
    (TAG + 'the "tool" ' + CITY, "", [HOTEL]),
    (TAG + 'a lone " quote ' + CITY, "", [HOTEL]),
]

BRACE: list[tuple[str, str, list[Any]]] = [
    (CITY, "", [HOTEL]),
    ("\n " + CITY, "", [HOTEL]),
    (CITY + TEA, "", [HOTEL, FIND]),
    (CITY + "; " + TEA, "", [HOTEL, FIND]),
    (CITY + "\n" + TEA, "", [HOTEL, FIND]),
    ('{"name": "find_hotel", "parameters": {"city": "Ulm"}}', "", [HOTEL]),
    ("Sure: " + CITY, "Sure: " + CITY, []),
    ("{", "{", []),
    ("{}", "{}", []),
    ('{"a": 1}', '{"a": 1}', []),
    ('{"a": 1} is JSON', '{"a": 1} is JSON', []),
    ("{not JSON} " + CITY, "{not JSON} " + CITY, []),
    ('{"name": "fly", "arguments": {}}', '{"name": "fly", "arguments": {}}', []),
    ('{"name": "now"}', '{"name": "now"}', []),
    ('{"name": "find_hotel", "arguments": {"ci', '{"name": "find_hotel", "arguments": {"ci', []),
    ('{"capital": "find"}', "", [("find", {"capital": "find"})]),
    ("Hello.", "Hello.", []),
    ("", "", []),
]

BRACKET: list[tuple[str, str, list[Any]]] = [
    (f"[{CITY}]", "", [HOTEL]),
    (f"[{CITY}, {TEA}]", "", [HOTEL, FIND]),
    (f" [{CITY}]", "", [HOTEL]),
    (f"[{CITY}] and so on", " and so on", [HOTEL]),
    (f"[{CITY}]]", "", [HOTEL]),
    (f"[{CITY}", "", [HOTEL]),
    ("[1, 2, 3]", "[1, 2, 3]", []),
    ("[1, [2], 3] are numbers", "[1, [2], 3] are numbers", []),
    ("[a link](x)", "[a link](x)", []),
    ('["]"] ok', '["]"] ok', []),
    ("[", "[", []),
    ('[{"name": "fly", "arguments": {}}]', '[{"name": "fly", "arguments": {}}]', []),
    (f"See [{CITY}]", f"See [{CITY}]", []),
    (CITY, CITY, []),
    ('[{"name": "find", "arguments": {"what": "]"}}]', "", [("find", {"what": "]"})]),
    ('[{"name": "book", "arguments": {"room": [[1]]}}]', "", [("book", {"room": [[1]]})]),
]

CASES = [
    *((TAG, *case) for case in TAGGED),
    *(("{", *case) for case in BRACE),
    *(("[", *case) for case in BRACKET),
]


@pytest.mark.parametrize(("tag", "text", "content", "calls"), CASES)
def test_generic_calls(tag: str, text: str, content: str, calls: list[Any]) -> None:
    assert parse(lambda: parser(tag), text) == (content, "", calls)


def test_calls_are_emitted_when_complete() -> None:
    parts = fed(parser(TAG), [TAG, CITY[:-1], CITY[-1], TEA])
    assert [len(part.tool_calls) for part in parts] == [0, 0, 1, 1, 0]


def test_names_wait_for_a_possibly_longer_name() -> None:
    parts = fed(parser(TAG), [TAG + 'find_hotel {"city": "Ulm"} find', '_hotel {"city": "Bonn"}'])
    assert [call.function.arguments for part in parts for call in part.tool_calls] == [
        {"city": "Ulm"},
        {"city": "Bonn"},
    ]


def test_without_tools_all_is_content() -> None:
    style = style_for(go="{{ .Messages }}{{ if .ToolCalls }}<toolcall>{{ .ToolCalls }}{{ end }}")
    assert parse(lambda: parser_for(style), TAG + CITY) == (TAG + CITY, "", [])
