"""Variables in prompts, and braces that are not fields."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from jupyter_ollama_magics.interpolate import interpolate


class Fussy:
    def __str__(self) -> str:
        raise RuntimeError("no text")


NAMESPACE = {
    "x": "value",
    "braces": "{x} and {y",
    "n": 3.14159,
    "items": ["zero", "one"],
    "table": {"a b": [1, 2], "value": "by name"},
    "thing": SimpleNamespace(name="it", sub=SimpleNamespace(n=7)),
    "fussy": Fussy(),
    "größe": "groß",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{x}", "value"),
        ("a {x} b {x}", "a value b value"),
        (
            "{thing.sub.n} {items[1]} {items[-1]} {table['a b'][0]} {table[x]}",
            "7 one one 1 by name",
        ),
        ("{n:.2f} {x!r} {x:>7}", "3.14 'value'   value"),
        ("{größe}", "groß"),
        ("{braces}", "{x} and {y"),
        ("{{x}}", "{x}"),
        ("{{{x}}}", "{value}"),
        ('{"a": {x}}', '{"a": value}'),
        # left as typed
        ("{undefined} {x.missing} {items[9]} {table[nope]}",) * 2,
        ("{} {0} { x } {x + 1} {len(x)} {x()} {fussy}",) * 2,
        ("def f(): return {'a': {}, 'b': {1, 2}}",) * 2,
        ("{{ undefined and x }} {% if x %} ${HOME} {",) * 2,
        ("for (;;) { if (a) { b(); } }}",) * 2,
        ("{n:nonsense} {items[}",) * 2,
        ("", ""),
    ],
)
def test_fields(text: str, expected: str) -> None:
    assert interpolate(text, NAMESPACE) == expected


def test_calls_nothing() -> None:
    called = []
    interpolate("{f()} {f} {o[f()]}", {"f": lambda: called.append(1), "o": {}})
    assert called == []
