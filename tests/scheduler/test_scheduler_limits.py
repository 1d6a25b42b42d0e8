"""Limits: how they are read, which of them apply to a user, and their effect on requests."""

from __future__ import annotations

import time
from typing import Any

import pytest
from traitlets import TraitError

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.limits import LimitReached, Limits, limits_of
from jupyter_ollama.scheduler.sliding_window import SlidingWindow

TABLE: dict[str, dict[str, Any]] = {
    "*": {"concurrent": 4, "queue": 8, "tokens_per_day": 1000, "models": ["tiny*"]},
    "group:students": {"concurrent": 1, "tokens_per_minute": 50},
    "group:staff": {"concurrent": 6, "tokens_per_day": None, "models": ["big"]},
    "group:lab": {"models": ["lab/*"]},
    "user:root": {"concurrent": None, "queue": None, "tokens_per_day": None, "models": None},
}


@pytest.mark.parametrize(
    ("name", "groups", "expected"),
    [
        ("ann", (), TABLE["*"]),
        ("ann", ("students",), TABLE["*"] | TABLE["group:students"]),
        (
            "ann",
            ("students", "staff", "unknown"),
            {"concurrent": 6, "queue": 8, "tokens_per_minute": 50, "models": ["big"]},
        ),
        ("ann", ("staff", "lab"), {"concurrent": 6, "queue": 8, "models": ["big", "lab/*"]}),
        ("root", ("students",), {"tokens_per_minute": 50}),
    ],
)
def test_the_limits_of_a_user(name: str, groups: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert limits_of(TABLE, name, groups) == Limits(**expected)


def test_no_limits() -> None:
    assert limits_of({}, "ann", ("students",)) == Limits()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"students": {}}, '\'students\' is neither "*" nor "group:NAME" nor "user:NAME"'),
        ({"user:": {}}, "'user:' is neither"),
        ({"*": {"concurent": 1}}, "'*': Object contains unknown field `concurent` (known limits:"),
        ({"*": {"concurrent": 0}}, "'*': Expected `int` >= 1 - at `$.concurrent`"),
        ({"*": {"tokens_per_day": "1M"}}, "Expected `int | null`, got `str`"),
        ({"*": 5}, "Expected `object`, got `int`"),
    ],
)
def test_invalid_limits(table: dict[str, Any], message: str) -> None:
    with pytest.raises(TraitError) as caught:
        OllamaServer(limits=table)
    assert str(caught.value).startswith("limits: ")
    assert message in str(caught.value)


def test_models() -> None:
    limits = Limits(models=["Gemma3", "*:1b", "lab/*"])
    for name in (
        "gemma3",
        "gemma3:270m",
        "qwen3:1b",
        "lab/own",
        "registry.ollama.ai/library/gemma3",
    ):
        limits.check_model(ModelName.parse(name))
    for name in ("gemma3n", "qwen3:4b", "other/own"):
        with pytest.raises(OllamaError, match="is not allowed for you; allowed: Gemma3") as caught:
            limits.check_model(ModelName.parse(name))
        assert caught.value.status == 403
    with pytest.raises(OllamaError, match="allowed: none"):
        Limits(models=[]).check_model(ModelName.parse("gemma3"))


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, (512, 100)),
        ({"num_ctx": 64, "num_predict": 7}, (64, 7)),
        ({"num_predict": 0}, (512, 100)),
    ],
)
def test_caps(asked: dict[str, int], given: tuple[int, int]) -> None:
    options = Options(**asked)
    Limits(num_ctx=512, num_predict=100).cap(options, 4096)
    assert (options.num_ctx, options.num_predict) == given
    options = Options(**asked)
    Limits().cap(options, 4096)
    assert options == Options(**asked)


def test_amounts_leave_a_window() -> None:
    window = SlidingWindow(60)
    now = time.time()
    for ago, tokens in ((100, 7), (50, 10), (20, 30), (0, 5)):
        window.add(tokens, now - ago)
    assert window.total == 45
    assert window.wait(46) == 0
    assert window.wait(45) == pytest.approx(10, abs=1)
    assert window.wait(35) == pytest.approx(40, abs=1)
    assert window.wait(1) == pytest.approx(60, abs=1)


@pytest.mark.parametrize("jump", [-3 * 86400, 3 * 86400])
def test_a_clock_that_jumps_locks_no_user_out(monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    window = SlidingWindow(60)
    window.add(10)
    before, wall, steady = window.wait(5), time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    assert window.total == 10
    assert window.wait(5) == pytest.approx(before, abs=5)
    window.add(10)
    monkeypatch.setattr(time, "time", wall)
    assert window.wait(5) == pytest.approx(60, abs=5)
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 61)
    assert window.total == window.wait(5) == 0


def test_records_of_the_future_are_dropped() -> None:
    window = SlidingWindow(60)
    window.add(7, time.time() + 3 * 86400)
    assert window.total == 0
    window.add(7, time.time() - 30)
    assert window.wait(5) == pytest.approx(30, abs=5)


def test_a_window_is_bounded() -> None:
    window = SlidingWindow(60)
    start = time.time() - 60
    for number in range(20000):
        window.add(1, start + number * 0.003)
    assert len(window._buckets) < 300
    assert window.total == pytest.approx(20000, rel=0.01)


def test_retry_after_is_whole_seconds() -> None:
    assert LimitReached("", 0.01).retry_after == 1
    assert LimitReached("", 61.2).retry_after == 62
