"""Go templates: rendered conversations, and refused templates."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import pytest
from conversations import AGAIN, ANSWER, ASK, CHAT, SYSTEM

from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.go_template import GoTemplate
from jupyter_ollama.prompt.messages import Message, ToolCall, ToolCallFunction

CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""

LLAMA3 = """{{- if .System }}<|start_header_id|>system<|end_header_id|>

{{ .System }}<|eot_id|>
{{- end }}
{{- range .Messages }}
{{- if ne .Role "system" }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>
{{- end }}
{{- end }}<|start_header_id|>assistant<|end_header_id|>

"""

GEMMA = """{{- range $i, $m := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<start_of_turn>user
{{- if and (eq $i 1) $.System }}
{{ $.System }}
{{- end }}
{{ .Content }}<end_of_turn>
{{ else if eq .Role "assistant" }}<start_of_turn>model
{{ .Content }}<end_of_turn>
{{ end }}
{{- if $last }}<start_of_turn>model
{{ end }}
{{- end }}"""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather <now> & later",
        "parameters": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "unit": {"type": ["string", "null"], "enum": ["C", "F"]},
                "city": {"type": "string", "description": "A city"},
            },
            "required": ["city"],
        },
    },
}
WEATHER_JSON = (
    '{"type":"function","function":{"name":"get_weather",'
    '"description":"Weather \\u003cnow\\u003e \\u0026 later","parameters":{"type":"object",'
    '"required":["city"],"properties":{"city":{"type":"string","description":"A city"},'
    '"unit":{"type":["string","null"],"enum":["C","F"]}}}}}'
)


def call(name: str, index: int = 0, **arguments: object) -> ToolCall:
    """Make the call of a tool."""
    return ToolCall(id="call_1", function=ToolCallFunction(name, arguments, index))


def in_messages(body: str) -> str:
    """Wrap template text so that Ollama runs it on messages, not on rounds."""
    return "{{ range .Messages }}{{ end }}" + body


def test_chatml() -> None:
    assert GoTemplate(CHATML).render(CHAT) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\nBecause.<|im_end|>\n"
        "<|im_start|>user\nReally?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_llama3_takes_the_system_text_apart() -> None:
    assert GoTemplate(LLAMA3).render([SYSTEM, ASK]) == (
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_gemma_counts_messages() -> None:
    assert GoTemplate(GEMMA).render(CHAT) == (
        "<start_of_turn>user\nBe brief.\nWhy?<end_of_turn>\n"
        "<start_of_turn>model\nBecause.<end_of_turn>\n"
        "<start_of_turn>user\nReally?<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def test_consecutive_messages_of_a_role_are_joined_but_not_those_of_tools() -> None:
    messages = [
        SYSTEM,
        Message(role="system", content="Be kind."),
        ASK,
        AGAIN,
        Message(role="tool", content="1"),
        Message(role="tool", content="2"),
    ]
    source = "[{{ .System }}]{{ range .Messages }}({{ .Role }}:{{ .Content }}){{ end }}"
    assert GoTemplate(source).render(messages) == (
        "[Be brief.\n\nBe kind.](system:Be brief.\n\nBe kind.)(user:Why?\n\nReally?)"
        "(tool:1)(tool:2)"
    )
    assert messages[2].content == "Why?"


def test_joined_messages_keep_all_their_tool_calls_and_images() -> None:
    more = Message(role="assistant", tool_calls=[call("look")], images=["aGk="])
    source = """{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Name }}{{ end }}
{{- range .Images }} {{ . }}{{ end }}{{ end }}"""
    assert GoTemplate(source).render([ASK, ANSWER, more]) == "look aGk="


def test_all_system_texts_are_joined_even_when_apart() -> None:
    messages = [SYSTEM, ASK, Message(role="system", content="Be kind.")]
    assert GoTemplate(in_messages("{{ .System }}")).render(messages) == "Be brief.\n\nBe kind."


@pytest.mark.parametrize(
    "body",
    [
        "{{ range .Tools }}{{ . }}{{ end }}",
        "{{ range .Tools }}{{ json . }}{{ end }}",
        "{{ range .Tools }}{{ print . }}{{ end }}",
        '{{ range .Tools }}{{ . | printf "%s" }}{{ end }}',
        '{{ range $.Tools }}{"type":"{{ .Type }}","function":{{ .Function }}}{{ end }}',
    ],
)
def test_a_tool_prints_as_json(body: str) -> None:
    template = GoTemplate(in_messages(body))
    assert "tools" in template.variables
    assert template.render([ASK], [WEATHER]) == WEATHER_JSON


def test_the_list_of_tools_prints_as_json() -> None:
    source = in_messages("{{ with .Tools }}{{ . }}{{ else }}none{{ end }}")
    assert GoTemplate(source).render([ASK], [WEATHER, WEATHER]) == (
        f"[{WEATHER_JSON},{WEATHER_JSON}]"
    )
    assert GoTemplate(source).render([ASK]) == "none"


def test_the_parts_of_a_tool() -> None:
    body = """{{ range .Tools }}{{ with .Function }}{{ .Name }}({{ .Parameters.Required }})
{{- range $name, $p := .Parameters.Properties }}
{{ $name }}: {{ $p.Type }} {{ $p | toTypeScriptType }} {{ $p.Description }}{{ $p.Enum }}
{{- end }}{{ end }}{{ end }}"""
    assert GoTemplate(in_messages(body)).render([ASK], [WEATHER]) == (
        "get_weather([city])\ncity: string string A city[]\nunit: [string null] string | null [C F]"
    )


@pytest.mark.parametrize(
    "printed",
    [
        "{{ .Arguments }}",
        "{{ json .Arguments }}",
        "{{ print .Arguments }}",
        "{{ .Arguments | print }}",
        '{{ printf "%s" .Arguments }}',
    ],
)
def test_arguments_print_as_json_with_sorted_keys(printed: str) -> None:
    source = (
        "{{ range .Messages }}{{ range .ToolCalls }}{{ with .Function }}"
        f"{{{{ .Index }}}}{{{{ .Name }}}}{printed}{{{{ end }}}}{{{{ end }}}}{{{{ end }}}}"
    )
    made = call("f", 1, b=[1, 2.5, None], a="é<ü>", c={"z": True, "y": 3.0})
    rendered = GoTemplate(source).render([Message(role="assistant", tool_calls=[made])])
    assert rendered == '1f{"a":"é\\u003cü\\u003e","b":[1,2.5,null],"c":{"y":3,"z":true}}'


def test_tool_results() -> None:
    source = "{{ range .Messages }}{{ .ToolName }}/{{ .ToolCallID }}={{ .Content }}{{ end }}"
    message = Message(role="tool", content="7", tool_name="add", tool_call_id="call_1")
    assert GoTemplate(source).render([message]) == "add/call_1=7"


@pytest.mark.parametrize(
    ("think", "shown"),
    [
        (None, "false  false"),
        (False, "false  true"),
        (True, "true medium true"),
        ("high", "true high true"),
    ],
)
def test_thinking(think: bool | str | None, shown: str) -> None:
    for source in [in_messages(""), ""]:
        source += "{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}"
        assert GoTemplate(source).render([ASK], think=think) == shown


def test_thinking_of_earlier_answers() -> None:
    source = "{{ range .Messages }}{{ with .Thinking }}<think>{{ . }}</think>{{ end }}{{ end }}"
    message = Message(role="assistant", content="4", thinking="2+2")
    assert GoTemplate(source).render([ASK, message]) == "<think>2+2</think>"


def test_dates() -> None:
    today = date.today()
    rendered = GoTemplate(in_messages('{{ currentDate }} {{ yesterdayDate "x" }}')).render([ASK])
    assert rendered == f"{today} {today - timedelta(days=1)}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("a  {{- 1 -}}  b", "a1b"),
        ("{{/* nothing */ -}} x", "x"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ range $i, $e := .Messages }}{{ if $i }}, {{ end }}{{ $e.Role }}{{ end }}", "user"),
        ("{{ range 3 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ . }}{{ end }}", "02"),
        ('{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" "v" }}', "<v>"),
        ('{{ eq 1 2 1 }} {{ len "é" }} {{ slice "hello" 1 3 }}', "true 2 el"),
        ('{{ printf "%q %05d %v" "a" 42 true }}', '"a" 00042 true'),
        ("{{ print 1 2 }}{{ print 1 `a` 2 }}", "1 21a2"),
        ("{{ .Nothing }}{{ if .Nothing }}x{{ end }}", "<no value>"),
        ('{{ eq .Nothing "a" }} {{ ne .Nothing "a" }} {{ eq .Nothing nil }}', "false true true"),
        ("{{ json .Nothing }}", "null"),
        ("{{ index (index .Messages 0).Images 0 }}", "aGk="),
    ],
)
def test_the_language(body: str, text: str) -> None:
    message = Message(role="user", content="Why?", images=["aGk="])
    assert GoTemplate(in_messages(body)).render([message]) == text


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ .Prompt }}", {"prompt", "response"}),
        ("{{ with .Tools }}{{ . }}{{ end }}{{ .Prompt }}", {"tools", "prompt", "response"}),
        (
            "{{ range $m := .Messages }}{{ $m.ToolCalls }}{{ else }}{{ .System }}{{ end }}",
            {"messages", "$m", "toolcalls", "system"},
        ),
        ('{{ define "x" }}{{ .Suffix }}{{ end }}{{ .Response }}', {"suffix", "response"}),
        ("{{ if and (eq .Think true) .Messages }}{{ end }}", {"think", "messages"}),
    ],
)
def test_variables(source: str, names: set[str]) -> None:
    assert GoTemplate(source).variables == names


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ .Prompt ", "template: :1: unclosed action"),
        ("\n{{ if .Prompt }}x", "template: :2: unexpected EOF"),
        ("{{ .Prompt }}\n{{ end }}", "template: :2: unexpected end"),
        ("{{ nosuch .Prompt }}", 'template: :1: function "nosuch" not defined'),
        ("{{ $x }}", 'template: :1: undefined variable "$x"'),
        ('{{ define "x" }}{{ end }}{{ template "x" }}', "undefined template specified"),
    ],
)
def test_invalid_templates(source: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        GoTemplate(source)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ range .Messages }}{{ .Nope }}{{ end }}", "can't evaluate field Nope in type Message"),
        ('{{ template "x" .Messages }}', "template 'x' is not defined"),
        (in_messages('{{ eq 1 "a" }}'), "incompatible types for comparison"),
        (in_messages("{{ index .Messages 5 }}"), "index out of range"),
        (in_messages('{{ slice "abc" 2 9 }}'), "out of bounds"),
    ],
)
def test_failures_at_run_time(source: str, message: str) -> None:
    template = GoTemplate(source)
    with pytest.raises(TemplateError) as caught:
        template.render([ASK])
    assert message in str(caught.value)


def test_gotpl_is_imported_only_for_a_template() -> None:
    code = (
        "import sys; from jupyter_ollama.prompt.go_template import GoTemplate;"
        "assert 'gotpl' not in sys.modules; GoTemplate('{{ .Prompt }}');"
        "assert 'gotpl' in sys.modules and 'jinja2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
