"""Go templates without .Messages: rounds of system, prompt and response."""

from __future__ import annotations

from conversations import AGAIN, ANSWER, ASK, CHAT, SYSTEM

from jupyter_ollama.prompt.go_template import GoTemplate
from jupyter_ollama.prompt.messages import Message

ROUNDS = """{{ if .System }}<sys>{{ .System }}</sys>{{ end }}
{{- if .Prompt }}<usr>{{ .Prompt }}</usr>{{ end }}<ast>{{ .Response }}</ast>"""


def test_rounds_run_the_template_once_each_and_cut_the_last() -> None:
    assert GoTemplate(ROUNDS).render(CHAT) == (
        "<sys>Be brief.</sys><usr>Why?</usr><ast>Because.</ast><usr>Really?</usr><ast>"
    )


def test_rounds_go_on_with_a_last_answer() -> None:
    assert GoTemplate(ROUNDS).render([ASK, ANSWER]) == "<usr>Why?</usr><ast>Because."


def test_rounds_start_anew_at_a_later_system_text() -> None:
    later = [ASK, Message(role="system", content="Now rhyme."), AGAIN]
    assert GoTemplate(ROUNDS).render(later) == (
        "<usr>Why?</usr><ast></ast><sys>Now rhyme.</sys><usr>Really?</usr><ast>"
    )


def test_rounds_leave_out_tool_messages() -> None:
    messages = [ASK, Message(role="tool", content="42")]
    assert GoTemplate(ROUNDS).render(messages) == "<usr>Why?</usr><ast>"


def test_a_template_that_names_no_response_gets_one() -> None:
    template = GoTemplate("{{ .System }}>{{ .Prompt }}>")
    assert template.variables == {"system", "prompt", "response"}
    assert template.render(CHAT) == "Be brief.>Why?>Because.>Really?>"


def test_the_cut_is_made_in_each_branch() -> None:
    source = "{{ if .System }}s{{ .Response }}!{{ else }}n{{ .Response }}!{{ end }}?"
    assert GoTemplate(source).render([SYSTEM, ASK]) == "s"
    assert GoTemplate(source).render([ASK]) == "n"


def test_a_condition_on_the_response_is_not_the_cut() -> None:
    source = "{{ .Prompt }}{{ if .Response }}>{{ end }}:{{ .Response }}."
    assert GoTemplate(source).render([ASK, ANSWER]) == "Why?>:Because."
    assert GoTemplate(source).render([ASK]) == "Why?:"


def test_the_cut_comes_after_a_response_in_a_pipeline() -> None:
    source = '{{ .Prompt }}{{ printf "<%s>" (print .Response) }}.'
    assert GoTemplate(source).render([ASK, ANSWER]) == "Why?<Because.>"


def test_suffix() -> None:
    template = GoTemplate(
        "{{ if .Suffix }}<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ else }}no{{ end }}"
    )
    assert "suffix" in template.variables
    assert template.render_suffix("def f(", "return 1") == "<P>def f(<S>return 1<M>"
    assert template.render([ASK]) == "no"
