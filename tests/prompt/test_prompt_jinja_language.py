"""The language of chat templates, against Jinja's own environment as Hugging Face sets it up."""

from __future__ import annotations

from datetime import datetime

import pytest
from conversations import ASK, CALLS, RESULTS, TOOL
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jupyter_ollama.prompt.jinja_template import JinjaTemplate
from jupyter_ollama.prompt.messages import Message

# The language, against Jinja's own environment as Hugging Face's libraries set it up.


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
        "{{ messages | map(attribute='role') | join(', ') }}",
        "{{ messages | rejectattr('role', 'in', ['user']) | map(attribute='role') | list }}",
        "{{ ['b', 'a', 'B'] | sort | unique | join }}{{ [3, 1] | sort(reverse=true) }}",
        "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined }}"
        "{{ loop.nextitem.role if not loop.last }};{% endfor %}",
        "{% for k, v in tools[0].function.items() %}{{ k }}={{ v }};{% endfor %}",
        "{% for k, v in tools[0].function | dictsort %}{{ k }};{% endfor %}",
        "{{ tools[0]['function'].parameters.properties.keys() | list }}",
        "{{ tools[0].get('missing', 'none') }}{{ tools[0].function.name.upper() }}",
        "{{ messages[1:] | length }}{{ messages[::-1][0].role }}{{ messages[-1]['content'] }}",
        "{{ ' a-b '.strip().split('-')[-1] }}{{ 'abc'[::-1] }}{{ 'abc'.startswith('ab') }}",
        "{{ 'x'.center(5, '-') }}{{ 'x'.zfill(3) }}{{ 'a\tb'.expandtabs(4) }}",
        "{{ 'x' | center(5) }}{{ 'a\nb' | indent(2, true) }}{{ 'a b c' | replace(' ', '_', 1) }}",
        "{{ 'a b c'.replace(' ', '') }}{{ ', '.join(['a', 'b']) }}{{ 'a b' | wordwrap(1) }}",
        "{{ '%s is %05.1f' % ('x', 2.25) }}{{ '%s-%s' | format('a', 1) }}{{ 7 % 4 }}",
        "{{ '%(a)s' % {'a': 'b'} }}{{ '%(a)s' | format(a='b') }}{{ '{:>4}{x}'.format(1, x=2) }}",
        "{{ '{a[b]}'.format_map({'a': {'b': 1}}) }}{{ '100%' }}{{ '{0!r}'.format('x') }}",
        "{{ [[1], [2]] | sum(start=[]) }}{{ [1, 2] | sum }}{{ [{'a': 3}] | sum('a') }}",
        "{{ [1, 2, 3] | batch(2, 0) | list }}{{ [1, 2, 3] | slice(2) | list }}{{ 2.5 | round }}",
        "{{ [{'a': 1}, {'a': 2}] | join('+', attribute='a') }}{{ {'a': none} | string | upper }}",
        "{% set ns = namespace(n=0, found=[]) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
        "{% set ns.found = ns.found + [m.role] %}{% endfor %}{{ ns.n }}{{ ns.found }}",
        "{% macro m(x, y='-') %}{{ x }}{{ y }}{% endmacro %}{{ m('<&>') + m('é', y='!') }}",
        "{% set x %}<{{ messages[0].content }}>{% endset %}{{ x + '&' ~ x | trim }}",
        "{% filter upper %}a{{ 'b' }}{% endfilter %}{{ none }}{{ true }}{{ nothing }}{{ 1.0 }}",
        "{{ add_generation_prompt }}{{ documents or 'no documents' }}{{ 'é' | title | length }}",
        "{{ tools is iterable }}{{ tools is sequence }}{{ tools is mapping }}{{ '' is none }}",
    ],
)
def test_the_language_is_jinja(source: str) -> None:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    messages = [ASK, Message(role="assistant", content="Bécause."), ASK]
    expected = environment.from_string(source).render(
        messages=[{"role": m.role, "content": m.content} for m in messages],
        tools=[TOOL],
        documents=None,
        add_generation_prompt=True,
    )
    assert JinjaTemplate(source).render(messages, [TOOL]) == expected


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ '<b>' | safe + '<i>' }}{{ '<' + ('&' | safe) }}", "<b><i><&"),
        ("{{ '<' + ('<\"' | e) + '>' }}", "<&lt;&#34;>"),
        ("{{ messages | map(attribute='role') | tojson }}", '["user"]'),
        ("{{ {'a': ['é'] | map('upper')} | tojson(indent=1) }}", '{\n "a": [\n  "É"\n ]\n}'),
        ("{{ {'a': 1, 'b': 2}.keys() | tojson }}{{ range(3) | tojson }}", '["a", "b"][0, 1, 2]'),
        ("{{ {'b': 'é', 'a': 1} | tojson(true, separators=(',', ':')) }}",
         '{"b":"\\u00e9","a":1}'),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", '{"a": 2, "b": 1}'),
    ],
)  # fmt: skip
def test_texts_are_not_html_and_lazy_lists_are_json(source: str, text: str) -> None:
    assert JinjaTemplate(source).render([ASK]) == text


# Missing values.


@pytest.mark.parametrize("name", ["tools", "documents"])
@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("{} is none", True),
        ("{} is not none", False),
        ("{} is defined", False),
        ("not {} is defined", True),
        ("{} == none", True),
        ("{} != none", False),
        ("{} is iterable", False),
        ("{} is iterable and {} | length > 0", False),
        ("{}", False),
        ("{} | default([1]) == [1]", True),
    ],
)
def test_missing_values_are_undefined_and_none(name: str, condition: str, holds: bool) -> None:
    source = "{{ true if (" + condition.replace("{}", name) + ") else false }}"
    assert JinjaTemplate(source).render([ASK]) == str(holds)
    loop = "{% for x in " + name + " %}x{% endfor %}{{ " + name + " | length }}"
    assert JinjaTemplate(loop).render([ASK]) == "0"


def test_the_date_is_today() -> None:
    source = (
        "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
        "{{ date_string }}|{{ datetime }}"
    )
    before = datetime.now()
    text = JinjaTemplate(source).render([ASK])
    days = (before, datetime.now())
    assert text in {f"{day:%d %b %Y}|{day:%b %d %Y}" for day in days}


# Calls and their results.


def test_a_template_may_change_the_lists_that_it_made() -> None:
    source = (
        "{% set queue = namespace(ids=[]) %}"
        "{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "{% set _ = queue.ids.append(c.function.name ~ ':' ~ loop.index0) %}{% endfor %}"
        "{% if m.role == 'tool' %}{{ queue.ids.pop(0) }}={{ m.content }} {% endif %}{% endfor %}"
        "{% set rest = messages[1:] %}{% set _ = rest.extend(['a']) %}"
        "{% set _ = rest.insert(0, 1) %}"
        "{{ rest | length }}{{ messages | length }}"
    )
    text = JinjaTemplate(source).render([ASK, CALLS, *RESULTS])
    assert text == "add:0=3 sub:1=4 54"
