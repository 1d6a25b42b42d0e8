"""Estimates: the rows, tokens and seconds of a call before it runs."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from row_server import RowServer, application

ROWS = pd.Series([*(f"row {number}" for number in range(100)), None, "row 1"])


@pytest.fixture
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """A server whose answers have 3 + 1 tokens; the accessors find it."""
    server = RowServer()
    server.pause = 0.05
    server.models[0]["digest"] = secrets.token_hex(32)
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    return server


@pytest.mark.parametrize("cached", [True, False])
def test_the_first_rows_are_measured_and_not_sent_again(
    echo: RowServer, tmp_path: Path, cached: bool
) -> None:
    cache = tmp_path / "rows.sqlite" if cached else False
    found = ROWS.ollama.estimate("chat", model="echo", cache=cache)
    assert (found.rows, found.missing, found.distinct) == (102, 1, 100)
    assert (found.known, found.measured, found.remaining) == (0, 20, 80)
    assert (found.prompt_tokens, found.answer_tokens) == (240, 80)
    assert found.seconds >= 4 * echo.pause
    assert set(echo.sent()) == set(ROWS[:20])
    again = ROWS.ollama.estimate("chat", model="echo", cache=cache)
    assert (again.known, again.measured, again.remaining) == (20, 20, 60)
    assert ROWS.ollama.chat(model="echo", cache=cache).dropna().str.startswith("ROW").all()
    assert set(echo.sent().values()) == {1}
    report = ROWS.ollama.last_report()
    assert (report.calls, report.resumed) == (60, 40)
    if cached:
        known = ROWS.ollama.estimate("chat", model="echo", cache=cache)
        assert (known.known, known.remaining, known.seconds) == (100, 0, 0)
        assert str(known) == (
            "chat by echo: 102 rows, 1 missing, 100 distinct, 100 known; 0 to send"
        )


def test_an_estimate_reads_the_cache_first(echo: RowServer, tmp_path: Path) -> None:
    ROWS[:50].ollama.chat(cache=tmp_path / "rows.sqlite")
    found = ROWS.ollama.estimate("chat", cache=tmp_path / "rows.sqlite")
    assert (found.known, found.measured, found.remaining) == (50, 20, 30)
    assert str(found).startswith(
        "chat by echo:latest: 102 rows, 1 missing, 100 distinct, 50 known, 20 measured and kept; "
        "30 to send: about 90 + 30 tokens, "
    )


def test_rows_that_fail(echo: RowServer) -> None:
    rows = pd.concat([pd.Series(["bad"]), ROWS])
    with pytest.raises(OllamaMagicsError, match="row 0: cannot do bad"):
        rows.ollama.estimate("chat")
    found = rows.ollama.estimate("chat", errors="coerce")
    assert found.remaining == found.distinct - len(set(echo.answered))


def test_frames_and_no_rows(echo: RowServer) -> None:
    frame = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})
    found = frame.ollama.estimate("classify", ["X OF 1", "Y OF 2"], "{a} of {b}", errors="coerce")
    assert (found.operator, found.rows, found.remaining) == ("classify", 2, 2)
    nothing = frame[:0].ollama.estimate("chat", "a", "echo")
    assert str(nothing) == "chat by echo: 0 rows, 0 distinct; 0 to send"


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (("clasify", ["a"]), {}, "No operator has the name 'clasify'. There are chat, classify"),
        (("classify",), {}, "classify: missing a required argument: 'labels'"),
        (("chat",), {"model": ["a", "b"]}, "estimate takes one model"),
        ((["chat"],), {}, "No operator has the name"),
    ],
)
def test_mistakes(
    echo: RowServer, arguments: tuple[str, ...], keywords: dict[str, object], message: str
) -> None:
    with pytest.raises(OllamaMagicsError, match=message):
        ROWS.ollama.estimate(*arguments, **keywords)
    assert echo.bodies == []
