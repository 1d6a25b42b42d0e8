"""Servers and kernels for the tests of the magics."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import chat_models
import decision_models
import pytest
import row_server
from cli_process import serving as serving_models
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel
from jupyter_ollama_client import Client
from real_kernel import Kernel
from scripted_server import ScriptedServer, application
from tornado import httpserver, netutil, web

from jupyter_ollama.library.library import Library


@contextmanager
def serving(app: web.Application, socket_path: str | None) -> Iterator[str]:
    """Serve ``app`` in a thread, on loopback or on a Unix socket."""
    loop = asyncio.new_event_loop()
    sockets = (
        [netutil.bind_unix_socket(socket_path)]
        if socket_path
        else netutil.bind_sockets(0, "127.0.0.1")
    )

    async def start() -> httpserver.HTTPServer:
        server = httpserver.HTTPServer(app)
        server.add_sockets(sockets)
        return server

    async def stop() -> None:
        server.stop()
        await server.close_all_connections()

    server = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield "http://localhost" if socket_path else f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Return a function that serves an application until the test ends, and its address."""
    with ExitStack() as stack:
        yield lambda app, socket_path=None: stack.enter_context(serving(app, socket_path))


@pytest.fixture
def server(serve: Callable[..., str]) -> ScriptedServer:
    """Return a scripted server that runs."""
    script = ScriptedServer()
    script.url = serve(application(script))
    return script


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Return a function that makes a client with the arguments of Client, open until the end."""
    with ExitStack() as stack:
        yield lambda *args: stack.enter_context(closing(Client(*args)))


@pytest.fixture
def pair(serve: Callable[..., str]) -> list[tuple[row_server.RowServer, str]]:
    """Two servers with the same model, which no other test has, and their addresses."""
    digest = secrets.token_hex(32)
    servers = [row_server.RowServer(), row_server.RowServer()]
    for server in servers:
        server.models[0]["digest"] = digest
    return [(server, serve(row_server.application(server))) for server in servers]


@pytest.fixture(autouse=True)
def _no_server_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "JUPYTER_OLLAMA_URL",
        "JUPYTER_OLLAMA_TOKEN",
        "OLLAMA_HOST",
        "OLLAMA_API_KEY",
        "JPY_PARENT_PID",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shell(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """Return an IPython shell with the magics, connected to ``server``."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)
    with loaded_shell() as shell:
        yield shell


@contextmanager
def loaded_shell() -> Iterator[InteractiveShell]:
    """Yield an IPython shell with the magics."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "jupyter_ollama_magics")
    yield shell
    shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
    InteractiveShell.clear_instance()


@pytest.fixture
def kernel(server: ScriptedServer) -> Iterator[Kernel]:
    """Return a kernel with the magics loaded, connected to ``server``."""
    with loaded_kernel(server.url) as kernel:
        yield kernel


@contextmanager
def loaded_kernel(url: str) -> Iterator[Kernel]:
    """Yield a kernel with the magics loaded, connected to a server."""
    environment = {**os.environ, "JUPYTER_OLLAMA_URL": url}
    manager, client = start_new_kernel(kernel_name="python3", env=environment)
    kernel = Kernel(manager, client)
    reply, messages = kernel.run("%load_ext jupyter_ollama_magics")
    assert (reply["status"], messages) == ("ok", [])
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel_at() -> Callable[[str], AbstractContextManager[Kernel]]:
    """Return a context manager with a kernel that is connected to a server."""
    return loaded_kernel


@pytest.fixture
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> row_server.RowServer:
    """A server that answers with the texts in capitals, without /api/score; the accessors find it.

    No other test uses its model, so it shares no kept answers.
    """
    server = row_server.RowServer()
    server.models[0]["digest"] = secrets.token_hex(32)
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(row_server.application(server)))
    return server


@pytest.fixture(scope="session")
def chat_server(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server with smollm2 and models with scripted answers."""
    folder = tmp_path_factory.mktemp("chat")
    models = folder / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    chat_models.fill(folder, Library.open(models))
    with serving_models({**os.environ, "HOME": str(folder)}, models, folder) as served:
        yield f"http://{served.host}"


@pytest.fixture(scope="session")
def decision_server(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server with the starter models and those of ``decision_models``."""
    folder = tmp_path_factory.mktemp("decisions")
    models = folder / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    decision_models.fill(folder, Library.open(models))
    with serving_models({**os.environ, "HOME": str(folder)}, models, folder) as served:
        yield f"http://{served.host}"


@pytest.fixture
def chat_shell(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython shell with the magics, connected to the real server."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    with loaded_shell() as shell:
        yield shell


@pytest.fixture
def chat_kernel(chat_server: str) -> Iterator[Kernel]:
    """A kernel with the magics loaded, connected to the real server."""
    with loaded_kernel(chat_server) as kernel:
        yield kernel
