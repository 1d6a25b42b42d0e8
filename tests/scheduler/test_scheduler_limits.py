"""Limits: how they are read, which of them apply to a user, and their effect on requests."""

from __future__ import annotations

from typing import Any

import pytest
from traitlets import TraitError

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.limits import LimitReached, Limits, limits_of

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


def test_retry_after_is_whole_seconds() -> None:
    assert LimitReached("", 0.01).retry_after == 1
    assert LimitReached("", 61.2).retry_after == 62
