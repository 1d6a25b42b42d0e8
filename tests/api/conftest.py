"""Servers on loopback: a Jupyter one and a stand-alone one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_client import Fetch, fetcher
from tornado.httpserver import HTTPServer
from traitlets.config import Config

from jupyter_ollama.api.listener import listen
from jupyter_ollama.config import OllamaServer

if TYPE_CHECKING:
    import openai


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """The folder of the store that the servers use; empty unless a test module overrides this."""
    return tmp_path / "models"


@pytest.fixture
def jp_server_config(models_dir: Path, tmp_path: Path) -> Config:
    """A Jupyter server with the extension, strict about undecorated handlers."""
    return Config(
        {
            "ServerApp": {
                "jpserver_extensions": {"jupyter_ollama": True},
                "allow_unauthenticated_access": False,
            },
            "OllamaServer": {
                "models_dir": str(models_dir),
                "batch_dir": str(tmp_path / "batches"),
                "prefix_dir": str(tmp_path / "prefixes"),
            },
        }
    )


@pytest.fixture
def http_server(
    jp_asyncio_loop: Any, http_server_port: Any, jp_serverapp: Any
) -> Iterator[HTTPServer]:
    """Serve with the Jupyter server's limits, which pytest-jupyter's own fixture leaves out."""

    async def start() -> HTTPServer:
        server = HTTPServer(
            jp_serverapp.web_app,
            max_body_size=jp_serverapp.max_body_size,
            max_buffer_size=jp_serverapp.max_buffer_size,
        )
        server.add_socket(http_server_port[0])
        return server

    server = jp_asyncio_loop.run_until_complete(start())
    yield server
    server.stop()
    jp_asyncio_loop.run_until_complete(server.close_all_connections())


@pytest.fixture
def jupyter_url(jp_serverapp: Any, http_server: Any, jp_http_port: int, jp_base_url: str) -> str:
    """The base URL of a running Jupyter server, without a slash at the end."""
    return f"http://127.0.0.1:{jp_http_port}{jp_base_url.rstrip('/')}"


@pytest.fixture
def jupyter(jupyter_url: str, jp_auth_header: dict[str, str]) -> Fetch:
    """Fetch from the API below a Jupyter server, with its token."""
    return fetcher(jupyter_url + "/ollama", jp_auth_header)


@pytest.fixture
def ollama_server(models_dir: Path, tmp_path: Path, jp_asyncio_loop: Any) -> Iterator[OllamaServer]:
    """The settings of the stand-alone server."""
    server = OllamaServer(
        models_dir=str(models_dir),
        batch_dir=str(tmp_path / "batches"),
        prefix_dir=str(tmp_path / "prefixes"),
    )
    yield server
    jp_asyncio_loop.run_until_complete(server.stop())


@pytest.fixture
def standalone_url(ollama_server: OllamaServer, jp_asyncio_loop: Any) -> Iterator[str]:
    """The URL of a running stand-alone server."""

    async def start() -> Any:
        return listen(ollama_server, "127.0.0.1:0")

    http_server = jp_asyncio_loop.run_until_complete(start())
    port = next(iter(http_server._sockets.values())).getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    http_server.stop()
    jp_asyncio_loop.run_until_complete(http_server.close_all_connections())


@pytest.fixture
def standalone(standalone_url: str) -> Fetch:
    """Fetch from the stand-alone server."""
    return fetcher(standalone_url, {})


@pytest.fixture
def openai_client(standalone_url: str, jp_asyncio_loop: Any) -> Iterator[openai.AsyncOpenAI]:
    """OpenAI's own client, for the stand-alone server."""
    import openai

    client = openai.AsyncOpenAI(base_url=standalone_url + "/v1", api_key="none", max_retries=0)
    yield client
    jp_asyncio_loop.run_until_complete(client.close())


@pytest.fixture(params=["jupyter", "standalone"])
def either(request: pytest.FixtureRequest) -> Fetch:
    """Fetch from one server, then from the other."""
    fetch: Fetch = request.getfixturevalue(request.param)
    return fetch


@pytest.fixture
def listening(jp_asyncio_loop: Any) -> Iterator[Callable[[OllamaServer], Awaitable[str]]]:
    """Start stand-alone servers: ``await listening(server)`` returns the URL."""
    started: list[tuple[OllamaServer, HTTPServer]] = []

    async def start(server: OllamaServer) -> str:
        http_server = listen(server, "127.0.0.1:0")
        started.append((server, http_server))
        port = next(iter(http_server._sockets.values())).getsockname()[1]
        return f"http://127.0.0.1:{port}"

    yield start

    async def stop() -> None:
        for server, http_server in started:
            http_server.stop()
            await http_server.close_all_connections()
            await server.stop()

    jp_asyncio_loop.run_until_complete(stop())
