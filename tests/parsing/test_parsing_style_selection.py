"""Selection of the style of a model, and the tags inferred from a Go template."""

# ruff: noqa: RUF001 (DeepSeek's marks contain full-width bars)

from __future__ import annotations

import pytest
from whole import parse, tool

from jupyter_ollama.parsing.go_tags import go_tags
from jupyter_ollama.parsing.style_selection import parser_for, style_for
from jupyter_ollama.parsing.styles import HARMONY, PLAIN, TOOL_CALL, by_parser

TOOL_TAGS = [
    ("{{ .Messages }}", "{"),
    ("{{ if .ToolCalls }}{{ .ToolCalls }}{{ end }}", "{"),
    ("{{ if .ToolCalls }}<tool_call>{{ .ToolCalls }}</tool_call>{{ end }}", "<tool_call>"),
    ('{{ if .ToolCalls }}\n<tool_call>\n{"name": {{ .Name }}}{{ end }}', "<tool_call>"),
    ('{{ if .ToolCalls }}[{{ range .ToolCalls }}{"name"}{{ end }}]{{ end }}', "["),
    ('{{ if .ToolCalls }}\n{{ range .ToolCalls }}{"name": 1}{{ end }}{{ end }}', "{"),
    ("{{ range .Messages }}{{ if and .Role .ToolCalls }}[CALLS] [{{ end }}{{ end }}", "[CALLS] ["),
    (
        "{{ if .Tools }}<tools>{{ end }}{{ if .Content }}x{{ else if .ToolCalls }}<c>{{ end }}",
        "<c>",
    ),
    ("{{ if .ToolCalls }}{{ .Content }}<t>{{ end }}", "{"),
    ("{{ with .Message }}{{ if .ToolCalls }}<w>{{ end }}{{ end }}", "<w>"),
    ("{{ if .ToolCalls }}```json\n{{ end }}", "```json"),
    ("{{ if .ToolCalls }}\n [ {{ range .ToolCalls }}{{ . }}{{ end }}]{{ end }}", "["),
    ("{{ if .ToolCalls }}{{ range .ToolCalls }}{{ . }}{{ end }}]{{ end }}", "{"),
    ('{{ if .ToolCalls }}{{ range .ToolCalls }}\r\n{"name": 1}{{ end }}{{ end }}', "{"),
    ("{{ if .ToolCalls }}one{{ if .Content }}two{{ end }}three{{ end }}", "one"),
    ("{{ broken", "{"),
]

THINKING_TAGS = [
    ("{{ range .Messages }}{{ if .Thinking }}<t>{{ .Thinking }}</t>{{ end }}{{ end }}",
     ("<t>", "</t>")),
    ("{{ range $i, $m := .Messages }}{{ if and $i $m.Thinking }}\n <t>\n{{ $m.Thinking }}\n</t>\n"
     "{{ end }}{{ end }}", ("<t>", "</t>")),
    ("{{ range $.Messages }}{{ with .Thinking }}x{{ end }}A b {{ .Thinking }} c d{{ end }}",
     ("A b", "c d")),
    ("{{ if .Thinking }}<t>{{ .Thinking }}</t>{{ end }}", ()),
    ("{{ range .Tools }}<t>{{ .Thinking }}</t>{{ end }}", ()),
    ("{{ range .Messages }}{{ range .Others }}<t>{{ .Thinking }}</t>{{ end }}{{ end }}", ()),
    ("{{ range .Messages }}{{ if .Thinking }}/think{{ end }}{{ end }}", ()),
    ("{{ range .Messages }}{{ .Thinking }}{{ end }}", ()),
    ("{{ range .Messages }}{{ if .X }}y{{ else }}<t>{{ .Thinking }}</t>{{ end }}{{ end }}",
     ("<t>", "</t>")),
]  # fmt: skip


@pytest.mark.parametrize(("source", "tag"), TOOL_TAGS)
def test_tool_tags_of_go_templates(source: str, tag: str) -> None:
    assert go_tags(source).tool_call == tag


@pytest.mark.parametrize(("source", "tags"), THINKING_TAGS)
def test_thinking_tags_of_go_templates(source: str, tags: tuple[str, ...]) -> None:
    assert go_tags(source).thinking == tags


PARSERS = {
    "qwen3": "<tool_call>",
    "qwen3-coder": "<tool_call>",
    "qwen3-vl-thinking": "<tool_call>",
    "glm-4.7": "<tool_call>",
    "nemotron-3-nano": "<tool_call>",
    "ministral": "[TOOL_CALLS]",
    "deepseek3": "<｜tool▁calls▁begin｜>",
    "cogito": "<｜tool▁calls▁begin｜>",
    "olmo3-think": "<function_calls>",
    "functiongemma": "<start_function_call>",
    "gemma4": "<|tool_call>",
    "lfm2-thinking": "<|tool_call_start|>",
    "cohere": "<|START_ACTION|>",
    "kimi-k2": "<|tool_calls_section_begin|>",
}


@pytest.mark.parametrize(("name", "tag"), PARSERS.items())
def test_parsers_of_configs(name: str, tag: str) -> None:
    style = by_parser(name)
    assert style is not None
    assert tag in style.blocks


@pytest.mark.parametrize("tag", sorted({*PARSERS.values(), "<|python_tag|>", "<|tool_call|>"}))
def test_chat_templates_show_their_style(tag: str) -> None:
    assert tag in style_for(jinja="{% for call in tool_calls %}" + tag + "{% endfor %}").blocks


def test_the_choice() -> None:
    assert style_for("harmony", jinja="<tool_call>") is HARMONY
    assert style_for("no-such-parser", jinja="<|channel|>") is HARMONY
    assert style_for(go="{{ .Messages }}", architecture="gptoss") is HARMONY
    assert style_for("passthrough", go="<tool_call>") is PLAIN
    assert style_for() is TOOL_CALL
    assert "[TOOL_CALLS]" in style_for(architecture="mistral3").blocks
    assert "[TOOL_CALLS]" in style_for(jinja="nothing known", architecture="mistral3").blocks
    assert "<|python_start|>" in style_for(architecture="llama4").blocks
    assert "<|python_tag|>" in style_for(architecture="llama").blocks


def test_a_chat_template_without_thinking_has_none() -> None:
    text = "<think>a</think>b"
    known = style_for(jinja="<tool_call>{{ content.split('</think>') }}")
    assert parse(lambda: parser_for(known), text) == ("b", "a", [])
    assert parse(lambda: parser_for(style_for(jinja="<tool_call>")), text) == (text, "", [])


def test_a_known_tag_in_a_go_template_is_read_by_its_style() -> None:
    source = "{{ .Messages }}{{ if .ToolCalls }}[TOOL_CALLS] [{{ json .ToolCalls }}]{{ end }}"
    tools = [tool("make", name="string", arguments="string")]
    text = '[TOOL_CALLS]make[ARGS]{"name": "x", "arguments": "y"}'
    answer = parse(lambda: parser_for(style_for(go=source), tools=tools), text)
    assert answer == ("", "", [("make", {"name": "x", "arguments": "y"})])
