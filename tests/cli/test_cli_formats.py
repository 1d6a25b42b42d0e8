"""Numbers and tables read as those of Ollama's command line."""

from __future__ import annotations

import pytest

from jupyter_ollama.cli.formats import duration, parameter_count, table


@pytest.mark.parametrize(
    ("count", "text"), [(134_515_008, "134.52M"), (8_030_261_248, "8.0B"), (900, "900")]
)
def test_parameter_count(count: int, text: str) -> None:
    assert parameter_count(count) == text


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
