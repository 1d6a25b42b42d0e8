"""Sizes, times and tables read as those of Ollama's command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jupyter_ollama.cli.formats import duration, moment, parameter_count, size, span, table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1536, "1.5 KB"),
        (97_854_123, "98 MB"),
        (4_100_000_000, "4.1 GB"),
        (12_345_678_901_234, "12 TB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(134_515_008, "134.52M"), (8_030_261_248, "8.0B"), (900, "900")]
)
def test_parameter_count(count: int, text: str) -> None:
    assert parameter_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (299, "4 minutes"),
        (3600, "About an hour"),
        (86400, "24 hours"),
        (3 * 86400, "3 days"),
        (21 * 86400, "3 weeks"),
        (90 * 86400, "3 months"),
        (3 * 365 * 86400, "3 years"),
    ],
)
def test_span(seconds: float, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-03-01T11:55:00Z", "5 minutes ago"),
        ("2026-03-01T13:04:59.999999999+01:00", "4 minutes from now"),
        ("2318-06-01T00:00:00Z", "Forever"),
    ],
)
def test_moment(text: str, told: str) -> None:
    assert moment(text, NOW) == told


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(83_100_000, "83.100ms"), (1_204_000_000, "1.204s"), (61_500_000_000, "1m1.500s")],
)
def test_duration(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


def test_table_columns_are_as_wide_as_their_widest_cell() -> None:
    text = table(("NAME", "SIZE"), [("a:latest", "1 B"), ("b", "12 GB")])
    assert text.splitlines() == [
        "NAME        SIZE",
        "a:latest    1 B",
        "b           12 GB",
    ]
