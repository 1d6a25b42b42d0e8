"""Jinja templates that would take minutes or gigabytes, each in a different way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_ollama.prompt.budget import MAX_SOURCE, OverBudget, Spending
from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.jinja_template import JinjaTemplate
from jupyter_ollama.prompt.messages import Message

ASK = Message(role="user", content="Why?")

LITTLE = Spending(0.2, 20_000, 2**24)
"""The budget of the templates here, small enough for quick tests."""

LEAST = Spending(0.05, 5_000, 2**24)
"""The seconds for all of them in sequence."""

MEMORY = 600 * 2**20
"""The most bytes of the process that renders all of them."""

TWICE = (
    "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}"
)
"""Two lists that contain one list twice, and so on: comparing them takes 2**60 steps."""

TUPLES = "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = "
HASH = " %}{% endfor %}{{ {ns.x: 1} }}"
KEEP = "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = ns.l + ["
KEPT = "] %}{% endfor %}"
AGAIN = "{% set b = 'xy ' * 3000000 %}{% for i in range(99999) %}{% set c = "
DONE = " %}{% endfor %}"


def nested(count: int, kind: str) -> str:
    """Return definitions, each of which calls the one before it twice."""
    if kind == "macro":
        last = "{% macro m0() %}{% endmacro %}"
        one = "{{% macro m{0}() %}}{{{{ m{1}() }}}}{{{{ m{1}() }}}}{{% endmacro %}}"
        return (
            last
            + "".join(one.format(i, i - 1) for i in range(1, count))
            + f"{{{{ m{count - 1}() }}}}"
        )
    one = "{{% block m{0} %}}{{{{ self.m{1}() }}}}{{{{ self.m{1}() }}}}{{% endblock %}}"
    return "{% block m0 %}{% endblock %}" + "".join(one.format(i, i - 1) for i in range(1, count))


HOSTILE = {
    "==": TWICE + "{{ ns.x == ns.y }}",
    "!=": TWICE + "{{ ns.x != ns.y }}",
    "is eq": TWICE + "{{ ns.x is eq ns.y }}",
    "in": TWICE + "{{ ns.x in [ns.y] }}",
    "is in": TWICE + "{{ ns.x is in [ns.y] }}",
    "sort": TWICE + "{{ [ns.x, ns.y] | sort }}",
    "max": TWICE + "{{ [ns.x, ns.y] | max }}",
    "count": TWICE + "{{ [ns.x].count(ns.y) }}",
    "index": TWICE + "{{ [ns.x].index(ns.y) }}",
    "select": TWICE + "{{ [ns.x] | select('eq', ns.y) | list }}",
    "changed": TWICE + "{% for v in [ns.x, ns.y] %}{{ loop.changed(v) }}{% endfor %}",
    "loop()": TWICE + "{% for v in ns.x recursive %}{{ loop(v) }}{% endfor %}",
    "sort of long texts": "{% set y = 'x' * 9000000 %}{{ ([y ~ 'a', y ~ 'b'] * 50000) | sort }}",
    "hash": TUPLES + "(ns.x, ns.x)" + HASH,
    "hash of a sum": TUPLES + "(ns.x,) + (ns.x,)" + HASH,
    "hash of a product": TUPLES + "(ns.x,) * 2" + HASH,
    "hash of items": TUPLES + "(dict([[ns.x, ns.x]]).items() | list)[0]" + HASH,
    "hash of get": TUPLES + "(ns.x, ns.x) %}{% endfor %}{{ {}.get(ns.x) }}",
    "//": "{% set a = ('f' * 3000000) | int(base=16) %}{{ (a * a * a // a) > 1 }}",
    "a sum of numbers": "{% set ns = namespace(n=1) %}{% for i in range(99999) %}"
    "{% set ns.n = ns.n + ns.n %}{% endfor %}{{ ns.n > 1 }}",
    "int": "{{ ('9' * 4000000) | int > 1 }}",
    "range": KEEP + "range(99999) | list" + KEPT,
    "map": KEEP + "range(99999) | map('string') | list" + KEPT,
    "batch": KEEP + "range(99999) | batch(1) | list" + KEPT,
    "*": KEEP + "'x' * 9000000" + KEPT,
    "list *": KEEP + "[1] * 9000000" + KEPT,
    "~": KEEP + "'x' * 5000000 ~ i" + KEPT,
    "center": KEEP + "'x'.center(9000000)" + KEPT,
    "center filter": KEEP + "'x' | center(9000000)" + KEPT,
    "ljust": KEEP + "'x'.ljust(9000000)" + KEPT,
    "zfill": KEEP + "'x'.zfill(9000000)" + KEPT,
    "expandtabs": KEEP + "'\t'.expandtabs(9000000)" + KEPT,
    "%": KEEP + "'%9000000d' % 1" + KEPT,
    "format": KEEP + "'{:9000000}'.format(1)" + KEPT,
    "format filter": KEEP + "'%9000000d' | format(1)" + KEPT,
    "indent": KEEP + "('x\n' * 9999) | indent(999)" + KEPT,
    "join": KEEP + "range(99999) | join('x' * 99)" + KEPT,
    "str.join": KEEP + "('x' * 99).join(['y'] * 99999)" + KEPT,
    "tojson": KEEP + "(['x' * 99] * 99999) | tojson" + KEPT,
    "wide tojson": "{{ [1] | tojson(indent=10**9) }}",
    "deep tojson": KEEP + "([[1]] * 9999) | tojson(indent=500)" + KEPT,
    "slices": "{% set b = 'x' * 9000000 %}" + KEEP + "b[i:]" + KEPT,
    "slices of lists": "{% set b = [1] * 900000 %}" + KEEP + "b[i:]" + KEPT,
    "lists": KEEP + "('x' * 99999) | list" + KEPT,
    "filter block": "{% filter center(9000000) %}x{% endfilter %}" * 99,
    "folded": "{{ 'x' | center(900000) }}" * 999,
    "split": "{{ ('x ' * 6000000).split() | length }}",
    "split by": "{{ ('x,' * 6000000).split(',') | length }}",
    "splitlines": "{{ ('x\n' * 6000000).splitlines() | length }}",
    "wordwrap": "{{ ('x ' * 900000) | wordwrap(1) | length }}",
    "urlize": "{{ ('http://x.' * 900000) | urlize | length }}",
    "striptags": "{{ ('<!--' * 900000) | striptags | length }}",
    "pprint": "{{ ([[1]] * 90000) | pprint | length }}",
    "title": "{{ ('x ' * 900000) | title | length }}",
    "xmlattr": "{{ {'a': 'x' * 900000} | xmlattr | length }}",
    "wordcount": "{{ ('x ' * 900000) | wordcount }}",
    "encode": "{{ ('é' * 900000).encode('punycode') | length }}",
    "translate": "{{ ('x' * 900000).translate({120: 'y' * 900000}) }}",
    "upper": AGAIN + "b | upper" + DONE,
    "replace": AGAIN + "b | replace('q', 'y')" + DONE,
    "str.replace": AGAIN + "b.replace('q', 'y')" + DONE,
    "str.count": AGAIN + "b.count('ab')" + DONE,
    "texts in": AGAIN + "'q' in b" + DONE,
    "texts ==": "{% set d = 'xy ' * 3000000 ~ '' %}" + AGAIN + "b == d" + DONE,
    "unique": "{% for i in range(9999) %}{% set c = range(99999) | unique | list %}{% endfor %}",
    "sum": "{{ ([[1] * 99999] * 99999) | sum(start=[]) | length }}",
    "namespace": "{% set ns = namespace() %}{% for i in range(99999) %}"
    "{% for j in range(99999) %}{% set ns.x = j %}{% endfor %}{% endfor %}",
    "cycle": "{% for i in range(99999) %}{{ loop.cycle(1, 2) }}{{ i }}{{ loop.index }}{% endfor %}",
    "append": "{% set l = [] %}{% for i in range(99999) %}{% set _ = l.append(1) %}{% endfor %}",
    "macros": nested(40, "macro"),
    "blocks": nested(30, "block"),
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "lipsum": "{{ lipsum(999999) }}",
    "strftime": "{{ strftime_now('%c' * 900000) | length }}",
    "**": "{{ 10 ** (10 ** 9) }}",
    "minus": "{{ (2 ** 4000 * 2 ** 4000) - 1 }}",
    "a long source": "x" * (MAX_SOURCE + 1),
}  # fmt: skip


def render_all() -> None:
    """Render all of them; print those that were not stopped, and the memory used."""
    for name, source in HOSTILE.items():
        try:
            JinjaTemplate(source).render([ASK], allowed=LEAST)
            print(f"not stopped: {name}")
        except TemplateError:
            pass
    # Not ru_maxrss, which a process inherits from the one that starts it.
    status = Path("/proc/self/status").read_text()
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print("done", int(peak) * 1024)


@pytest.mark.parametrize("name", HOSTILE)
def test_work_and_memory_of_a_template_are_bounded(name: str) -> None:
    with pytest.raises(TemplateError):
        JinjaTemplate(HOSTILE[name]).render([ASK], allowed=LITTLE)


def test_all_of_them_together_take_little_memory() -> None:
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=110)
    printed = done.stdout.split()
    assert printed[0] == "done", (done.stdout, done.stderr)
    assert int(printed[1]) < MEMORY


def test_exceeded_budgets_differ_from_refusals_of_a_template() -> None:
    endless = JinjaTemplate(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    with pytest.raises(OverBudget):
        endless.render([ASK], allowed=LITTLE)
    with pytest.raises(TemplateError) as caught:
        JinjaTemplate("{{ raise_exception('no') }}").render([ASK], allowed=LITTLE)
    assert not isinstance(caught.value, OverBudget)


def test_a_conversation_of_ten_thousand_messages_is_within_the_budget() -> None:
    template = JinjaTemplate(
        "{% for m in messages %}{% if m.role == 'user' %}U{{ m.content | trim }}{% else %}"
        "A{{ m['content'][:5] ~ '!' }}{% endif %}{% endfor %}"
    )
    messages = [Message("user", "a question"), Message("assistant", "an answer")] * 5000
    assert template.render(messages) == "Ua questionAan an!" * 5000


if __name__ == "__main__":
    render_all()
