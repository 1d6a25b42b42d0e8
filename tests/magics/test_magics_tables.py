"""The tables of %ollama list, ps and usage: sizes and ages in words, on a DataFrame."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from jupyter_ollama_client.readable import age, expiry, moment, size, span
from jupyter_ollama_magics.table import Table

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
    ("text", "expected"),
    [
        ("2026-03-01T11:55:00Z", "5 minutes ago"),
        ("2026-03-01T13:04:59.999999999+01:00", "4 minutes from now"),
        ("2318-06-01T00:00:00Z", "Forever"),
    ],
)
def test_age(text: str, expected: str) -> None:
    assert age(moment(text), NOW) == expected


def test_expiry() -> None:
    assert expiry(moment("2318-06-01T00:00:00Z")) == "Forever"
    assert expiry(moment("2020-01-01T00:00:00Z")) == "Stopping..."
    assert expiry(moment(None)) == ""


def models() -> Table:
    return Table(
        {
            "name": ["smollm2:latest", "<b>"],
            "size": [145_000_000, 1_300_000_000],
            "on_gpu": [0, 1_300_000_000],
            "modified": [datetime.now() - timedelta(days=3), None],
            "context": [8192, 131_072],
        }
    )


def test_text_of_a_table() -> None:
    assert repr(models()).splitlines() == [
        "name               size   on_gpu   modified     context",
        "smollm2:latest   145 MB     none   3 days ago      8192",
        "<b>              1.3 GB   1.3 GB                131,072",
    ]


def test_html_of_a_table() -> None:
    shown = models()._repr_html_()
    rows = [re.findall(">([^<]*)</t[hd]>", row) for row in shown.split("<tr>")[1:]]
    assert rows == [
        ["name", "size", "on_gpu", "modified", "context"],
        ["smollm2:latest", "145 MB", "none", "3 days ago", "8192"],
        ["&lt;b&gt;", "1.3 GB", "1.3 GB", "", "131,072"],
    ]
    assert '<td style="text-align: right">145 MB</td>' in shown
    assert '<td style="text-align: left">&lt;b&gt;</td>' in shown


def test_a_table_is_a_dataframe() -> None:
    table = models()
    assert isinstance(table, pd.DataFrame)
    assert table["size"].sum() == 1_445_000_000
    assert table["modified"].dtype.kind == "M"
    big = table[table["context"] > 10_000]
    assert repr(big).splitlines()[1].split()[:3] == ["<b>", "1.3", "GB"]
    assert repr(table.set_index("name")).splitlines()[1].startswith("smollm2:latest")
    assert "131072.000000" in repr(table.describe())
    assert "(none)" in repr(table.set_index("name").iloc[:0])
    assert "Columns: []" in repr(table[[]])
    assert "smollm2:latest  smollm2:latest" in repr(table[["name", "name"]])
    many = pd.concat([table] * 300)
    assert "600 rows" in repr(many)
    assert "600 rows" in many._repr_html_()


def test_an_empty_table() -> None:
    table = models().iloc[:0]
    assert repr(table).splitlines()[1:] == ["(none)"]
    assert "(none)" in table._repr_html_()


def test_long_texts_are_cut_in_the_display() -> None:
    table = Table({"begins": ["a\nb " + "x" * 100]})
    assert repr(table).splitlines()[1] == f"a b {'x' * 55}…"
    assert len(table["begins"][0]) == 104
