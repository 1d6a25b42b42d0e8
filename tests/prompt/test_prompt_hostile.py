"""Templates that try to get out, to run for ever or to fill the memory."""

from __future__ import annotations

import pytest

from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.go_template import GoTemplate
from jupyter_ollama.prompt.jinja_template import JinjaTemplate
from jupyter_ollama.prompt.messages import Message

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
        "{{ messages[0].update(role='system') }}",
    ],
)
def test_jinja_cannot_leave_or_change_what_it_sees(source: str) -> None:
    with pytest.raises(TemplateError, match=r"unsafe|undefined|no attribute"):
        JinjaTemplate(source).render([ASK])


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
