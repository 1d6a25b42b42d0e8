"""Clients cannot forge lines of the log, and secrets are never logged."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, fetcher, generate

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import one_line

FORGED = "x\n[I 2026-01-01 00:00:00] root has logged in\r\x1b[31m\u2028\x85 end"


@pytest.mark.parametrize(
    "letter", ["\n", "\r", "\x1b", "\x85", "\u2028", "\u2029", "\x00", "\u202e"]
)
def test_no_letter_begins_another_line(letter: str) -> None:
    found = one_line(f"a{letter}b")
    assert found.splitlines() == [found]
    assert found.isprintable()
    assert found != f"a{letter}b"


def test_long_texts_are_cut() -> None:
    assert len(one_line("x" * 10_000)) == 500
    assert one_line("plain: é 中") == "plain: é 中"


async def test_unknown_options_are_logged_on_one_line(
    ollama_store: Path, listening: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fetch = fetcher(await listening(OllamaServer(models_dir=str(ollama_store))), {})
    body = generate(options={FORGED: 1, "stop": ["x"] * 300}, stream=False)
    assert (await fetch("POST", "/api/generate", body)).code == 400
    [message] = [r.message for r in caplog.records if "Unknown options" in r.message]
    assert "root has logged in" in message
    assert message.isprintable()


@pytest.mark.parametrize("path", ["/api/version", "/nope", "/api/tags", "/api/show"])
async def test_queries_of_urls_are_not_logged(
    either: Fetch, path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"Authorization": "Bearer hidden-in-header"} if path == "/nope" else {}
    method = "POST" if path == "/api/show" else "GET"
    await either(method, path + "?api_token=hidden", headers=headers)
    assert not [r for r in caplog.records if "hidden" in r.getMessage()]
    assert any(
        "/api" in record.getMessage() or "nope" in record.getMessage() for record in caplog.records
    )


async def test_queries_are_not_logged_with_errors(
    either: Fetch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> Any:
        raise KeyError("a mistake")

    monkeypatch.setattr("jupyter_ollama.api.exchange.Exchange._run", broken)
    response = await either("GET", "/api/version?api_token=hidden")
    assert response.code == 500
    assert "internal server error" in json.loads(response.body)["error"]
    monkeypatch.setattr("jupyter_ollama.api.exchange.Exchange.answer", broken)
    assert (await either("GET", "/api/version?api_token=hidden")).code == 500
    assert "a mistake" in caplog.text
    assert "hidden" not in caplog.text
