"""Rows on several servers: busy, shared and lost ones."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows import dispatch
from jupyter_ollama_magics.rows.tasks import IN_FLIGHT
from row_server import RowServer

MANY = pd.Series([f"row {number}" for number in range(200)])


def at(pair: list[tuple[RowServer, str]]) -> list[str]:
    return [url for _, url in pair]


@pytest.mark.parametrize(
    ("status", "after", "least"),
    [
        (429, lambda: "1", 1.0),
        (503, lambda: formatdate(time.time() + 2, usegmt=True), 1.0),
        (503, lambda: "soon", 0.5),
        (503, lambda: None, 0.5),
    ],
)
def test_rows_wait_as_long_as_a_busy_server_asks(
    pair: list[tuple[RowServer, str]],
    status: int,
    after: Callable[[], str | None],
    least: float,
) -> None:
    server, url = pair[0]
    server.busy, server.busy_status, server.retry_after = 1, status, after
    assert pd.Series(["x"]).ollama.at(url).chat().tolist() == ["X"]
    refused, answered = server.arrivals
    assert answered - refused >= least


def test_a_server_gets_no_more_requests_at_a_time_than_it_accepts(
    pair: list[tuple[RowServer, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "FIRST_WAIT", 0.05)
    server, url = pair[0]
    server.capacity = 4
    assert MANY.ollama.at(url).chat().tolist() == [text.upper() for text in MANY]
    assert Counter(server.answered) == Counter(MANY)
    # Requests in flight before the limit is known, and one or two at each probe for more.
    assert 0 < len(server.bodies) - len(MANY) < 50


def test_endless_refusals_are_an_error(
    pair: list[tuple[RowServer, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, url = pair[0]
    server.busy, server.retry_after = 10**6, lambda: "3600"
    with pytest.raises(OllamaMagicsError, match="come later"):
        MANY.ollama.at(url).chat(errors="coerce")
    monkeypatch.setattr(dispatch, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(dispatch, "PATIENCE", 0.3)
    server.retry_after = lambda: None
    with pytest.raises(OllamaMagicsError, match="come later"):
        MANY.ollama.at(url).chat(errors="coerce")


def test_rows_are_spread_over_servers(pair: list[tuple[RowServer, str]]) -> None:
    result = MANY.ollama.at(*at(pair)).chat()
    assert result.tolist() == [text.upper() for text in MANY]
    shares = [len(server.answered) for server, _ in pair]
    assert sum(shares) == 200
    assert min(shares) > 50


def test_rows_go_to_the_other_server_while_one_is_busy(pair: list[tuple[RowServer, str]]) -> None:
    server = pair[0][0]
    server.busy, server.retry_after = 10**6, lambda: "60"
    assert MANY.ollama.at(*at(pair)).chat().notna().all()
    assert len(server.bodies) <= 20


def test_the_rows_of_a_lost_server_go_to_the_other(pair: list[tuple[RowServer, str]]) -> None:
    pair[0][0].lost_at = 50
    result = MANY.ollama.at(*at(pair)).chat()
    assert result.tolist() == [text.upper() for text in MANY]
    assert 0 < len(pair[0][0].answered) < 50
    # Answered rows were not sent again.
    assert Counter(pair[0][0].answered + pair[1][0].answered) == Counter(MANY)


def test_answers_of_two_lost_servers_are_kept(pair: list[tuple[RowServer, str]]) -> None:
    for server, _ in pair:
        server.lost_at = 50
    with pytest.raises(OllamaMagicsError, match="broke"):
        MANY.ollama.at(*at(pair)).chat()
    pair[1][0].lost_at = 10**9
    assert MANY.ollama.at(*at(pair)).chat().notna().all()
    answered = pair[0][0].answered + pair[1][0].answered
    assert {*answered} == {*MANY}
    # Only answers on their way when the second server was lost are asked for again.
    assert len(answered) <= len(MANY) + IN_FLIGHT


def test_a_server_that_is_down_at_the_start_is_left_out(pair: list[tuple[RowServer, str]]) -> None:
    pair[0][0].lost_at = 0
    assert MANY.ollama.at(*at(pair)).chat().notna().all()
    assert len(pair[1][0].answered) == 200


def test_another_model_of_the_same_name_is_an_error(pair: list[tuple[RowServer, str]]) -> None:
    pair[1][0].models[0]["digest"] = "e" * 64
    with pytest.raises(OllamaMagicsError, match="echo:latest is not the same on http"):
        MANY.ollama.at(*at(pair)).chat()


def test_tokens_come_from_the_environment(
    pair: list[tuple[RowServer, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", pair[0][1])
    monkeypatch.setenv("JUPYTER_OLLAMA_TOKEN", "of-one")
    MANY.ollama.at(*at(pair)).chat()
    assert [server.tokens for server, _ in pair] == [{"Bearer of-one"}, {""}]
    monkeypatch.setenv("BULK_TOKEN", "of-both")
    MANY.ollama.at(*at(pair), token_variable="BULK_TOKEN").chat("again")
    assert all("Bearer of-both" in server.tokens for server, _ in pair)
    with pytest.raises(OllamaMagicsError, match="no variable NO_TOKEN"):
        MANY.ollama.at(*at(pair), token_variable="NO_TOKEN").chat()


def test_one_bad_text_does_not_fail_its_batch(pair: list[tuple[RowServer, str]]) -> None:
    server, url = pair[0]
    server.models[0]["capabilities"] = ["embedding"]
    texts = pd.Series([*MANY, "bad"], index=[*range(200), "last"])
    frame = texts.ollama.at(url).embed(expand=True, errors="column")
    assert frame["error"].dropna().to_dict() == {"last": "cannot do one of them"}
    assert frame[0].notna().tolist() == [True] * 200 + [False]
    with pytest.raises(OllamaMagicsError, match="row last: cannot do"):
        texts.ollama.at(url).embed()
