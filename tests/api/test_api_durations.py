from __future__ import annotations

import math

import pytest

from jupyter_ollama.durations import parse_duration, parse_keep_alive
from jupyter_ollama.errors import OllamaError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("5m", 300),
        ("1h30m", 5400),
        ("-1m", -60),
        ("+2s", 2),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3\u00b5s", 3e-6),
        ("3\u03bcs", 3e-6),
        ("7ns", 7e-9),
        ("1h1m1s1ms", 3661.001),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10", 'time: missing unit in duration "10"'),
        ("1m10", 'time: missing unit in duration "1m10"'),
        ("abc", 'time: invalid duration "abc"'),
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        (".", 'time: invalid duration "."'),
        ("5 m", 'time: unknown unit " m" in duration "5 m"'),
        ("3days", 'time: unknown unit "days" in duration "3days"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_bad_durations_have_the_texts_of_go(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="time: ") as caught:
        parse_duration(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (0.5, 0.5),
        (90, 90),
        ("90s", 90),
        (-1, math.inf),
        ("-1m", math.inf),
        (1e30, math.inf),
    ],
)
def test_keep_alive(value: object, seconds: float) -> None:
    assert parse_keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("10", 'time: missing unit in duration "10"'),
        (True, "Unsupported type: 'bool'"),
        ([], "Unsupported type: '[]interface {}'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
    ],
)
def test_bad_keep_alive(value: object, message: str) -> None:
    with pytest.raises(OllamaError) as caught:
        parse_keep_alive(value)
    assert (caught.value.status, caught.value.message) == (400, message)
