"""Reports of calls: rows, requests, tokens and failures."""

from __future__ import annotations

import json
from pathlib import Path

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows import report as row_report
from jupyter_ollama_magics.rows.report import RowReport, duration
from row_server import RowServer


def report(data: pd.Series | pd.DataFrame) -> dict[str, object]:
    found = dict(data.attrs["ollama"])
    assert found.pop("seconds") >= 0
    return found


def test_a_report_counts_what_the_server_saw(echo: RowServer, tmp_path: Path) -> None:
    rows = pd.Series(["x", None, "y", "x", "bad", "bad"])
    found = rows.ollama.chat(errors="coerce", cache=tmp_path / "rows.sqlite")
    assert report(found) == {
        "operator": "chat",
        "model": "echo:latest",
        "digest": echo.models[0]["digest"],
        "rows": 6,
        "missing": 1,
        "distinct": 3,
        "cached": 0,
        "resumed": 0,
        "calls": len(echo.bodies),
        "prompt_tokens": 6,
        "answer_tokens": 2,
        "failures": 2,
        "cascade": None,
    }
    assert report(rows.ollama.chat(errors="column", cache=tmp_path / "rows.sqlite")) == (
        report(found) | {"cached": 2, "calls": 1, "prompt_tokens": 0, "answer_tokens": 0}
    )
    line = repr(rows.ollama.last_report())
    assert line.startswith(
        "chat by echo:latest: 6 rows, 1 missing, 3 distinct, 2 from the cache, 1 requests, "
    )
    assert line.endswith(", 2 failed")


def test_rows_of_an_earlier_call_are_resumed(echo: RowServer) -> None:
    rows = pd.Series([*(f"row {number}" for number in range(40)), "bad"])
    with pytest.raises(OllamaMagicsError):
        rows.ollama.chat()
    kept = len(set(echo.answered))
    found = report(rows[:40].ollama.chat())
    assert 0 < int(str(found["resumed"])) <= kept
    assert int(str(found["resumed"])) + int(str(found["calls"])) == 40


async def test_where_a_report_stays(echo: RowServer, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["x", "y"], "n": [1, 2]})
    frame.attrs["source"] = "a survey"
    found = await frame.ollama.achat("text", into="answer")
    assert found.attrs.keys() == {"source", "ollama"}
    assert frame.attrs.keys() == {"source"}
    file = tmp_path / "answers.parquet"
    found.to_parquet(file)
    for kept in (found[found.n > 1], found.head(1), found.answer, pd.read_parquet(file)):
        assert kept.attrs["ollama"] == found.attrs["ollama"]
    assert json.loads(json.dumps(found.attrs["ollama"])) == found.attrs["ollama"]
    frame["answer"] = found["answer"]
    assert "ollama" not in frame.attrs
    assert frame.ollama.last_report().as_dict() == found.attrs["ollama"]


def test_rows_without_text_have_a_report(echo: RowServer) -> None:
    found = report(pd.Series([None, None]).ollama.chat(model="echo"))
    assert (found["rows"], found["missing"], found["calls"]) == (2, 2, 0)
    assert echo.bodies == []


def test_no_report_before_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_report, "_last", [])
    with pytest.raises(OllamaMagicsError, match=r"No call of \.ollama has finished yet"):
        pd.Series(["x"]).ollama.last_report()


def test_the_line_of_a_report() -> None:
    made = RowReport("embed", "m", "d", 1200, 0, 1200, calls=5, prompt_tokens=9000, seconds=75.2)
    assert str(made) == "embed by m: 1,200 rows, 5 requests, 9,000 + 0 tokens, 1:15 min"
    assert [duration(one) for one in (0.04, 9.94, 9.96, 59.6, 3600)] == [
        "0.0 s",
        "9.9 s",
        "10 s",
        "1:00 min",
        "60:00 min",
    ]
