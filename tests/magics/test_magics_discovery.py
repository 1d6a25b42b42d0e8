"""Discovery of the server of a kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jupyter_ollama_client.addresses import parse_host
from jupyter_ollama_client.discovery import discover
from scripted_server import ScriptedServer, application


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu01", "http://gpu01:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1", "http://127.0.0.1:1"),
        ("[::]:5", "http://[::1]:5"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
        ("http://gpu01", "http://gpu01"),
        ("https://hub/user/a%40b/ollama/", "https://hub/user/a%40b/ollama"),
        ("hub:8000/services/ollama", "http://hub:8000/services/ollama"),
        (' "gpu01:9" ', "http://gpu01:9"),
    ],
)
def test_parse_host(text: str, url: str) -> None:
    assert parse_host(text) == url


@pytest.mark.parametrize("text", ["ftp://x", "http://x:port", "unix:///x"])
def test_parse_host_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"must begin with http|Port could not"):
        parse_host(text)


@pytest.fixture
def parent(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Make ``server`` this process's Jupyter server; return the variables of its kernels."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    register(tmp_path, os.getpid(), server.url)
    return {"JPY_PARENT_PID": str(os.getpid())}


def register(runtime: Path, pid: int, url: str, **more: Any) -> None:
    port = urlsplit(url).port
    info = {"url": f"{url}/user/x@y/", "base_url": "/user/x@y/", "token": "parent-token"}
    info |= {"hostname": "127.0.0.1", "port": port, "sock": "", "pid": pid} | more
    (runtime / f"jpserver-{pid}.json").write_text(json.dumps(info))


def test_order(server: ScriptedServer, parent: dict[str, str]) -> None:
    everything = parent | {
        "JUPYTER_OLLAMA_URL": "http://shared/ollama",
        "JUPYTER_OLLAMA_TOKEN": "shared-token",
        "OLLAMA_HOST": "gpu01",
        "OLLAMA_API_KEY": "key",
    }
    given = discover("http://mine:1", "mine", everything)
    assert (given.url, given.token) == ("http://mine:1", "mine")
    shared = discover(environ=everything)
    assert (shared.url, shared.token) == ("http://shared/ollama", "shared-token")
    del everything["JUPYTER_OLLAMA_URL"]
    found = discover(environ=everything)
    assert (found.url, found.token) == (server.url + "/user/x@y/ollama", "parent-token")
    with closing(found.client()) as client:
        assert client.version() == "0.99.1"
    del everything["JPY_PARENT_PID"]
    host = discover(environ=everything)
    assert (host.url, host.token) == ("http://gpu01:11434", "key")
    assert discover(environ={}).url == "http://127.0.0.1:11434"


def test_tokens_are_sent_only_to_their_server() -> None:
    environ = {"JUPYTER_OLLAMA_URL": "http://shared", "JUPYTER_OLLAMA_TOKEN": "t"}
    environ |= {"OLLAMA_API_KEY": "key"}
    assert discover("http://other", environ=environ).token is None
    assert discover("http://shared/", environ=environ).token == "t"


def test_the_hub_token_is_sent_only_to_routes_of_the_hub() -> None:
    hub = {"JUPYTERHUB_API_TOKEN": "mine", "JUPYTERHUB_BASE_URL": "/hub/"}

    def token(url: str, **more: str) -> str | None:
        return discover(environ={"JUPYTER_OLLAMA_URL": url, **hub, **more}).token

    assert token("http://127.0.0.1:8000/hub/services/ollama/ollama") == "mine"
    assert token("http://127.0.0.1:8000/hub/user/gpubot/ollama") == "mine"
    assert token("http://gpu01:8000/services/ollama") is None
    assert token("http://gpu01:11434") is None
    assert token("http://hub/hub/services/x", JUPYTER_OLLAMA_TOKEN="other") == "other"
    assert discover("http://gpu01/hub/services/x", environ=hub).token is None


def test_a_dead_parent_gets_no_request(
    server: ScriptedServer, parent: dict[str, str], tmp_path: Path
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    register(tmp_path, gone.pid, server.url)
    assert discover(environ={"JPY_PARENT_PID": str(gone.pid)}).source == "default address"
    assert server.requests == []


def test_a_parent_without_the_extension_is_skipped(
    server: ScriptedServer, parent: dict[str, str]
) -> None:
    server.failure = (404, "text/html", "<title>Jupyter Server</title>")
    found = discover(environ=parent | {"OLLAMA_HOST": "gpu01"})
    assert found.source == "OLLAMA_HOST"
    assert "no Ollama API" in found.skipped
    assert "404" in found.skipped


@pytest.mark.parametrize("pid", ["", "nonsense", "1", "999999999999"])
def test_odd_parents(pid: str) -> None:
    assert discover(environ={"JPY_PARENT_PID": pid}).source == "default address"


def test_other_servers_files_are_not_read(
    server: ScriptedServer, parent: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / f"jpserver-{os.getpid()}.json").rename(tmp_path / f"jpserver-{os.getppid()}.json")
    assert discover(environ=parent).source == "default address"
    assert server.requests == []


def test_parent_on_all_interfaces_is_reached_by_loopback(
    server: ScriptedServer, parent: dict[str, str], tmp_path: Path
) -> None:
    url = server.url.replace("127.0.0.1", "this-host.example")
    register(tmp_path, os.getpid(), url, hostname="0.0.0.0")
    assert urlsplit(discover(environ=parent).url).hostname == "localhost"


def test_parent_on_a_unix_socket(
    serve: Callable[..., str], parent: dict[str, str], tmp_path: Path
) -> None:
    script = ScriptedServer()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"
        serve(application(script), path)
        register(tmp_path, os.getpid(), "http+unix://x", sock=path, hostname="localhost")
        found = discover(environ=parent)
        assert (found.socket, found.source) == (path, "parent Jupyter server")
        with closing(found.client()) as client:
            assert len(client.list()) == 2
        assert script.requests[-1][2]["Authorization"] == "Bearer parent-token"
