"""Templates that try to escape, to run for ever or to exhaust memory."""

from __future__ import annotations

import pytest

from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.go_template import GoTemplate
from jupyter_ollama.prompt.jinja_template import JinjaTemplate
from jupyter_ollama.prompt.messages import Message, ToolCall, ToolCallFunction

ASK = Message(role="user", content="Why?")
DOUBLING = "{%% set ns = namespace(x='0123456789') %%}{%% for i in range(60) %%}%s{%% endfor %%}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ (messages | map(attribute='__class__') | list)[0].mro() }}",
        "{{ messages.append(1) }}",
        "{{ messages.pop() }}",
        "{{ messages[0].tool_calls.append(1) }}",
        "{{ tools[0].list.extend([1]) }}",
        "{{ [1].clear() }}",
        "{{ {}.update(a=1) }}",
        "{{ 'x'.translate({120: 'y'}) }}",
        "{{ (1).to_bytes(10, 'big') }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{{ '{a.__class__.__mro__}'.format_map({'a': 1}) }}",
        "{{ messages[0].update(role='system') }}",
    ],
)
def test_jinja_cannot_escape_or_change_its_values(source: str) -> None:
    call = ToolCall(ToolCallFunction("f"))
    message = Message(role="assistant", content="Why?", tool_calls=[call])
    with pytest.raises(TemplateError, match=r"unsafe|undefined|no attribute"):
        JinjaTemplate(source).render([message], [{"list": [1]}])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "turns of loops",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recurses too deeply"),
        ("{{ 'x' * 10 ** 12 }}", "characters of text"),
        ("{{ 10 ** 12 * [1] }}", "characters of text"),
        ("{{ 10 ** (10 ** 9) }}", "too big"),
        ("{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "characters of text"),
        (DOUBLING % "{% set ns.x = ns.x ~ ns.x %}", "characters of text"),
        (DOUBLING % "{% set ns.x = ns.x + ns.x %}", "characters of text"),
        (
            DOUBLING % "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}",
            "characters of text",
        ),
        ("{% set ns = namespace(n=3) %}{% for i in range(60) %}{% set ns.n = ns.n * ns.n %}"
         "{% endfor %}", "too big"),
    ],
)  # fmt: skip
def test_jinja_runaways_are_stopped(source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        JinjaTemplate(source).render([ASK])


@pytest.mark.parametrize(
    "expression",
    [
        "'x'.center(10 ** 9)",
        "'x'.ljust(10 ** 9)",
        "'x'.rjust(10 ** 9)",
        "'x'.zfill(10 ** 9)",
        "'\t'.expandtabs(10 ** 9)",
        "'x' | center(10 ** 9)",
        "('x\n' * 9999) | indent(99999)",
        "('x\n' * 9999) | indent('x' * 99999)",
        "('x' * 99999).replace('x', 'y' * 99999)",
        "('x' * 99999) | replace('x', 'y' * 99999)",
        "('x ' * 99999) | wordwrap(1, wrapstring='y' * 99999)",
        "('x' * 99999).join(['y'] * 99999)",
        "(['y'] * 99999) | join('x' * 99999)",
        "([{'a': 'x' * 99999}] * 99999) | join(attribute='a')",
        "'%999999999d' % 1",
        "'%.999999999f' % 1.5",
        "'%*d' % (999999999, 1)",
        "('%(a)s' * 99999) % {'a': 'x' * 99999}",
        "'%999999999d' | format(1)",
        "('%s' * 9) | format('x' * 9999999, 1, 1, 1, 1, 1, 1, 1, 1)",
        "'{:999999999}'.format(1)",
        "'{:{}}'.format(1, 999999999)",
        "('{0}' * 99999).format('x' * 99999)",
        "('{a}' * 99999).format_map({'a': 'x' * 99999})",
        "[1] | tojson(indent=10 ** 9)",
        "[1] | tojson(separators=('x' * 10 ** 7, ':'))",
        "[1] | batch(10 ** 9, 0) | list",
        "[1] | slice(10 ** 9) | list",
        "1.5 | round(10 ** 9)",
        "(['x' * 9999999] * 99999) | sum(start='')",
    ],
)
def test_jinja_texts_from_methods_filters_and_operators_are_bounded(expression: str) -> None:
    with pytest.raises(TemplateError, match=r"characters of text|too wide|too precise|parts$"):
        JinjaTemplate("{{ (" + expression + ") | length }}").render([ASK])


@pytest.mark.parametrize(
    "use",
    [
        "{{ ns.x }}",
        "{{ ns.x ~ '' }}",
        "{{ ns.x | string }}",
        "{{ ns.x | upper }}",
        "{{ ns.x | tojson }}",
        "{{ ns.x | tojson(indent=1) }}",
        "{{ [ns.x] | map('first') | tojson }}",
        "{{ '%s' % ns.x }}",
        "{{ '{}'.format(ns.x) }}",
        "{{ '{!r}'.format([ns.x]) }}",
        "{{ ns.x | join }}",
        "{{ ns.x | e }}",
    ],
)
def test_jinja_lists_that_hold_a_list_twice_stay_small(use: str) -> None:
    doubling = "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}"
    doubling += "{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
    with pytest.raises(TemplateError, match=r"parts|characters of text"):
        JinjaTemplate(doubling + use).render([ASK])


@pytest.mark.parametrize(
    "grow",
    [
        "{% for i in range(60) %}{% set _ = x.extend(x) %}{% endfor %}",
        "{% for i in range(99) %}{% set _ = x.extend(range(99999)) %}{% endfor %}",
    ],
)
def test_jinja_lists_grow_by_counted_turns(grow: str) -> None:
    with pytest.raises(TemplateError, match="turns of loops"):
        JinjaTemplate("{% set x = [1] %}" + grow).render([ASK])


def test_jinja_loops_are_counted_afresh_for_each_rendering() -> None:
    template = JinjaTemplate(
        "{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}ok"
    )
    assert [template.render([ASK]) for _ in range(3)] == ["ok"] * 3


def test_jinja_that_python_cannot_compile() -> None:
    with pytest.raises(TemplateError):
        JinjaTemplate("{% for i in x %}" * 30 + "{% endfor %}" * 30)


@pytest.mark.parametrize(
    "body",
    [
        "{{ .__class__ }}",
        "{{ .values }}",
        "{{ .__gotemplate_lookup__ }}",
        "{{ .Content.upper }}",
        "{{ .Content.__class__.__mro__ }}",
        "{{ $.Messages.append }}",
        "{{ .ToolCalls.clear }}",
        "{{ call .Content }}",
    ],
)
def test_go_templates_see_fields_only(body: str) -> None:
    with pytest.raises(TemplateError, match=r"can't evaluate|not allowed|not defined"):
        GoTemplate("{{ range .Messages }}" + body + "{{ end }}").render([ASK])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{{ range 1000000 }}{{ range 1000000 }}{{ end }}{{ end }}", "iteration budget"),
        ('{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}', "depth budget"),
        (
            '{{ $x := "0123456789" }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}',
            "characters of text",
        ),
        (
            '{{ $x := "01234" }}{{ range 60 }}{{ $x = $x | html | printf "%s%s" $x }}{{ end }}',
            "characters of text",
        ),
        ('{{ printf "%999999999d" 1 }}', "too long"),
        ('{{ printf "%.999999999f" 1.5 }}', "too long"),
        ('{{ printf "%*d" 999999999 1 }}', "too long"),
        (
            '{{ $x := printf "%99999d" 1 }}{{ printf "' + "%[1]s" * 9999 + '" $x }}',
            "too long",
        ),
        ('{{ range 99999 }}{{ printf "%9999d" 1 }}{{ end }}', "characters of text"),
    ],
)
def test_go_runaways_are_stopped(body: str, message: str) -> None:
    template = GoTemplate("{{ range .Messages }}{{ end }}" + body)
    with pytest.raises(TemplateError, match=message):
        template.render([ASK])


@pytest.mark.parametrize(
    "source",
    [
        "{{ if .A }}" * 200 + "{{ end }}" * 200,
        "{{ " + "(" * 500 + ".A" + ")" * 500 + " }}",
        "{{ if .A }}" + "{{ else if .A }}" * 5000 + "{{ end }}",
        "x" * 2_000_000,
        "{{ " + "9" * 5000 + " }}",
    ],
)
def test_go_templates_too_deep_or_too_long(source: str) -> None:
    with pytest.raises(TemplateError, match=r"nest|limit"):
        GoTemplate(source)
