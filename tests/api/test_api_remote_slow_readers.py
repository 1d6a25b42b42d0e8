"""Remote mode: a client that does not read ends its request at the shared server, too."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, generate, wait_until
from test_api_slow_readers import ENDLESS, LOUD, SMALL, deaf, is_hung_up
from traitlets.config import Config

from jupyter_ollama.config import OllamaServer


@pytest.fixture
def models_dir(ollama_store: Path) -> Path:
    return ollama_store


@pytest.fixture
def jp_server_config(jp_server_config: Config, standalone_url: str) -> Config:
    jp_server_config.OllamaServer.remote_url = standalone_url
    jp_server_config.OllamaServer.stalled_seconds = 1
    return jp_server_config


@pytest.fixture(autouse=True)
def small_buffers(http_server_port: Any) -> None:
    """Have the kernel keep little of what the Jupyter server sends."""
    http_server_port[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)


async def test_a_client_that_reads_nothing_is_disconnected(
    jupyter_url: str,
    jp_auth_header: dict[str, str],
    ollama_server: OllamaServer,
    standalone: Fetch,
) -> None:
    loud = LOUD | {"options": ENDLESS | {"num_predict": 20_000, "num_ctx": 4096}}
    with deaf(f"{jupyter_url}/ollama", "/api/generate", loud, jp_auth_header) as client:
        await wait_until(lambda: len(ollama_server.admission.requests) == 1)
        short = generate(options={"num_predict": 2}, raw=True, stream=False)
        assert (await standalone("POST", "/api/generate", short)).code == 200
        await wait_until(lambda: not ollama_server.admission.requests)
        assert await is_hung_up(client)
