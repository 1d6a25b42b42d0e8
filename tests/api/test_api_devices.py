"""GET /api/devices: the memory that models can use."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

import pytest
from api_client import Fetch, error

from jupyter_ollama.engine import device_list


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands of the processes that list devices."""
    started: list[tuple[str, ...]] = []
    start = asyncio.create_subprocess_exec

    async def record(*command: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(command)
        return await start(*command, **options)

    monkeypatch.setattr(device_list.asyncio, "create_subprocess_exec", record)
    return started


async def test_requests_share_a_list(standalone: Fetch, commands: list[tuple[str, ...]]) -> None:
    answers = await asyncio.gather(*(standalone("GET", "/api/devices") for _ in range(3)))
    assert len(commands) == 1
    found = [json.loads(answer.body)["devices"] for answer in answers]
    assert found[0] == found[1] == found[2]
    hosts = [device for device in found[0] if device["is_cpu"]]
    assert len(hosts) == 1
    assert 0 < hosts[0]["free"] <= hosts[0]["total"]


async def test_a_faulty_llama_cpp_is_reported(
    standalone: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_list.sys, "executable", shutil.which("false"))
    response = await standalone("GET", "/api/devices")
    assert response.code == 500
    assert "jupyter ollama doctor" in error(response)
