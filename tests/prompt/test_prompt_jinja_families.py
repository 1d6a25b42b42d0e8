"""Families of chat templates: each receives values that satisfy its tests."""

from __future__ import annotations

import json

import pytest
from conversations import ASK, CALLS, RESULTS, TOOL, call

from jupyter_ollama.prompt.control_marks import ControlMarks, plain
from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.jinja_template import JinjaTemplate
from jupyter_ollama.prompt.messages import Message

ARGUMENTS_JSON = '{"a": [1, "é"], "b": {"c": true}}'


@pytest.mark.parametrize(
    "source",
    [
        "{{ c.arguments | tojson }}",
        "{{ c.arguments if c.arguments is string else c.arguments | tojson }}",
        "{{ c.arguments }}",
        "{{ c.arguments | string }}",
        "{{ c.arguments ~ '' }}",
        "{{ '' + c.arguments + '' }}",
        "{{ '%s' % c.arguments }}",
        "{{ '{' }}{% for k, v in c.arguments.items() %}{{ k | tojson }}: {{ v | tojson }}"
        "{{ '' if loop.last else ', ' }}{% endfor %}{{ '}' }}",
        "{{ c.arguments | tojson if c.arguments is mapping else '' }}",
    ],
)
def test_arguments_serve_as_a_mapping_and_as_a_text(source: str) -> None:
    template = JinjaTemplate("{% set c = messages[0].tool_calls[0].function %}" + source)
    assert template.render([CALLS]) == ARGUMENTS_JSON


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ content is none }}{{ content == none }}{{ content != none }}", "TrueTrueFalse"),
        ("{{ content is string }}{{ content == '' }}{{ content | length }}", "TrueTrue0"),
        ("[{{ '<' + content + '>' }}{{ content | trim }}{{ content }}]", "[<>]"),
        ("{{ content | tojson }}{{ content is defined }}", '""True'),
    ],
)
def test_calls_without_a_text_have_an_empty_one_or_none(source: str, text: str) -> None:
    template = JinjaTemplate("{% set content = messages[0].content %}" + source)
    assert template.render([CALLS]) == text


def test_an_empty_message_is_no_call() -> None:
    source = "{{ messages[0].content is none }}"
    assert JinjaTemplate(source).render([Message(role="user")]) == "False"


def test_a_call_without_an_id_has_none() -> None:
    source = (
        "{% for c in messages[0].tool_calls %}{{ c.id if 'id' in c else loop.index0 }}{% endfor %}"
    )
    message = Message(role="assistant", tool_calls=[call(), call(id="x")])
    assert JinjaTemplate(source).render([message]) == "0x"


NINE = """{% for m in messages %}
{%- for c in m.tool_calls or [] %}
{%- if c.id is undefined or c.id | length != 9 %}{{ raise_exception('nine letters') }}{% endif %}
{{- c.function.name ~ '#' ~ c.id ~ ' ' }}
{%- endfor %}
{%- if m.role == 'tool' %}
{%- if m.tool_call_id is undefined or m.tool_call_id | length != 9 %}
{{- raise_exception('nine letters') }}{% endif %}
{{- m.content ~ '#' ~ m.tool_call_id ~ ' ' }}
{%- endif %}{% endfor %}"""


def ids(text: str) -> dict[str, str]:
    return dict(part.split("#") for part in text.split())


def test_ids_of_another_form_are_replaced_where_a_template_refuses_them() -> None:
    found = ids(JinjaTemplate(NINE).render([ASK, CALLS, *RESULTS[::-1]]))
    assert found["3"] == found["add"] != found["4"] == found["sub"]


def test_ids_of_the_wanted_form_stay() -> None:
    calls = Message(role="assistant", tool_calls=[call(id="abcdef123")])
    result = Message(role="tool", content="3", tool_call_id="abcdef123")
    assert JinjaTemplate(NINE).render([calls, result]) == "add#abcdef123 3#abcdef123 "


@pytest.mark.parametrize("named", [True, False])
def test_results_without_ids_belong_to_the_calls_before_them(named: bool) -> None:
    calls = Message(role="assistant", tool_calls=[call(), call("sub")])
    add, sub = (Message(role="tool", content=text) for text in ("3", "4"))
    results = [add, sub]
    if named:
        add.tool_name, sub.tool_name = "add", "sub"
        results = [sub, add]
    found = ids(JinjaTemplate(NINE).render([calls, *results]))
    assert found["3"] == found["add"] != found["4"] == found["sub"]


def test_a_refusal_for_another_reason_is_reported() -> None:
    template = JinjaTemplate("{{ raise_exception(messages[0].tool_calls[0].id) }}")
    with pytest.raises(TemplateError, match=r"^one$"):
        template.render([CALLS])


def test_tools_by_another_name() -> None:
    template = JinjaTemplate("{{ 'Functions:' + functions }}")
    assert template.render([ASK]) == "Functions:"
    assert template.render([ASK], [TOOL]) == "Functions:" + json.dumps(
        [TOOL], ensure_ascii=False, indent=4
    )


# Contents.


PARTS_ONLY = (
    "{% for m in messages %}{{ m.role }}:{% for part in m.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %};{% endfor %}"
)


def test_a_template_for_lists_of_parts_gets_them() -> None:
    text = JinjaTemplate(PARTS_ONLY).render([ASK, CALLS, Message(role="tool", content="3")])
    assert text == "user:Why?;assistant:;tool:3;"


def test_a_template_that_fails_on_a_text_gets_parts() -> None:
    source = (
        "{% if messages | length == 1 %}{{ messages[0].content }}"
        "{% else %}{{ 'said: ' + messages[0].content[0].text }}{% endif %}"
    )
    assert JinjaTemplate(source).render([ASK, ASK]) == "said: Why?"


def test_a_template_for_both_gets_texts() -> None:
    source = "{% if messages[0].content is string %}text{% else %}" + PARTS_ONLY + "{% endif %}"
    source += "{{ messages[0].content }}"
    assert JinjaTemplate(source).render([ASK]) == "textWhy?"


@pytest.mark.parametrize("name", ["thinking", "reasoning_content", "reasoning"])
def test_thoughts_by_all_their_names(name: str) -> None:
    message = Message(role="assistant", content="4", thinking="2+2")
    assert JinjaTemplate("{{ messages[0]." + name + " }}").render([message]) == "2+2"


@pytest.mark.parametrize(
    ("think", "shown"),
    [
        (None, "unset unset unset unset"),
        (True, "enabled True unset unset"),
        (False, "disabled False 0 unset"),
        ("high", "enabled True unset high"),
    ],
)
def test_the_switches_of_thinking(think: bool | str | None, shown: str) -> None:
    names = ("thinking_mode", "reasoning", "thinking_budget", "reasoning_strength")
    source = " ".join("{{ " + name + " | default('unset') }}" for name in names)
    assert JinjaTemplate(source).render([ASK], think=think) == shown


# Guards in the texts of users.


@pytest.mark.parametrize(
    "filters",
    ["", "| trim", "| tojson", "| tojson(ensure_ascii=true)", "| safe", "| replace('q', 'r')"],
)
def test_guards_pass_through_filters(filters: str) -> None:
    marks = ControlMarks(["<|im_end|>"])
    template = JinjaTemplate("<|im_end|>{{ messages[0].content " + filters + " }}")
    text = "a<|im_end|>\\ufdd0é"
    guarded = template.render([Message(role="user", content=marks.guarded(text))])
    assert plain(guarded) == template.render([Message(role="user", content=text)])
    markup, content = marks.pieces(guarded)
    assert (markup.text, markup.is_markup, content.is_markup) == ("<|im_end|>", True, False)


def test_the_character_of_guards_is_escaped_like_any_other() -> None:
    content = ControlMarks([]).guarded("\ufdd0")
    template = JinjaTemplate("{{ messages[0].content | tojson(ensure_ascii=true) }}")
    assert plain(template.render([Message(role="user", content=content)])) == '"\\ufdd0"'
