"""Tokens and passwords reach only their servers, and are never shown."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.lib.pretty import pretty
from jupyter_ollama_client.discovery import discover
from jupyter_ollama_magics import Client, endpoint
from jupyter_ollama_magics.failures import OllamaMagicsError
from real_kernel import Kernel
from row_server import RowServer
from row_server import application as row_application
from scripted_server import ScriptedServer, application

SECRET = "not-to-be-seen"
BASIC = {"Authorization": f"Basic {base64.b64encode(b'me@x:' + SECRET.encode()).decode()}"}


def with_user(url: str) -> str:
    return url.replace("://", f"://me%40x:{SECRET}@")


def sent(server: ScriptedServer) -> set[str]:
    return {headers.get("Authorization", "") for _, _, headers in server.requests}


@pytest.mark.parametrize(
    "environ",
    [
        {"JUPYTER_OLLAMA_URL": "http://shared/ollama", "JUPYTER_OLLAMA_TOKEN": SECRET},
        {"OLLAMA_HOST": "gpu01", "OLLAMA_API_KEY": SECRET},
        {"OLLAMA_HOST": f"http://me:{SECRET}@gpu01"},
        {"OLLAMA_HOST": f"me:{SECRET}@gpu01:1"},
        {"OLLAMA_HOST": f"http://gpu01:8888/ollama?token={SECRET}"},
    ],
)
def test_no_repr_shows_a_secret(environ: dict[str, str]) -> None:
    found = discover(environ=environ)
    client = found.client()
    rows = pd.Series(["a"]).ollama.at(with_user("http://x")).plan("chat")
    given = [found, found.headers, found.token, found.credentials, vars(found), vars(client)]
    shown: list[Any] = [*given, client, client.session_settings(), rows, rows.servers]
    for value in [*shown, copy.deepcopy(found), pickle.loads(pickle.dumps(found))]:
        for text in (repr(value), pretty(value)):
            assert SECRET not in text
            assert base64.b64encode(SECRET.encode()).decode()[2:12] not in text
    # Those who use it have it.
    assert json.loads(json.dumps(found.headers)) == dict(found.headers)
    value = str(found.headers["Authorization"])
    kind, _, credentials = value.partition(" ")
    assert SECRET in (base64.b64decode(credentials).decode() if kind == "Basic" else credentials)


def test_a_password_in_the_address_is_basic_authentication(
    connect: Callable[..., Client], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = discover(environ={"OLLAMA_HOST": with_user(server.url), "OLLAMA_API_KEY": "other"})
    assert (found.url, found.headers) == (server.url, BASIC)
    with closing(found.client()) as client:
        client.version()
    connect(with_user(server.url)).version()
    monkeypatch.setenv("OLLAMA_HOST", with_user(server.url))
    pd.Series(["a"]).ollama.embed()
    pd.Series(["a"]).ollama.at(with_user(server.url)).embed()
    assert sent(server) == {BASIC["Authorization"]}
    server.failure = (401, "text/plain", "no")
    with pytest.raises(Exception, match="user or password is missing or not accepted") as caught:
        connect(with_user(server.url)).version()
    assert SECRET not in str(caught.value)


def test_a_password_and_a_token_are_refused() -> None:
    with pytest.raises(ValueError, match="only one can be sent"):
        discover(f"http://me:{SECRET}@gpu01", "token", {})


def test_magics_keep_the_credentials_of_connect(
    shell: InteractiveShell, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    magics = shell.magics_manager.registry["OllamaMagics"]
    shell.run_line_magic("ollama", f"connect {with_user(server.url)}")
    shell.run_line_magic("ollama", "list")
    assert endpoint().headers == BASIC
    shell.run_line_magic("ollama", f"connect {server.url} --token {SECRET}")
    assert endpoint().headers == {"Authorization": f"Bearer {SECRET}"}
    shell.run_line_magic("ollama", f"connect {server.url}?token={SECRET}")
    shell.run_line_magic("ollama", "list")
    assert endpoint().headers == {"Authorization": f"Bearer {SECRET}"}
    magics.url = with_user(server.url)
    shell.run_line_magic("config", "OllamaMagics")
    values = [shell.run_line_magic("config", f"OllamaMagics.{name}") for name in ("url", "token")]
    assert SECRET not in capsys.readouterr().out
    assert SECRET not in repr(values)
    with pytest.raises(OllamaMagicsError, match="only one can be sent") as caught:
        shell.run_line_magic("ollama", f"connect {with_user(server.url)} --token x")
    assert SECRET not in str(caught.value)


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return a function that makes a server that of this process, and its address."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JPY_PARENT_PID", str(os.getpid()))

    def register(url: str) -> str:
        info = {"url": f"{url}/", "base_url": "/user/x@y/", "token": SECRET, "sock": ""}
        info |= {"hostname": "127.0.0.1", "port": urlsplit(url).port, "pid": os.getpid()}  # type: ignore[dict-item]
        (tmp_path / f"jpserver-{os.getpid()}.json").write_text(json.dumps(info))
        return f"{url}/user/x@y/ollama"

    return register


def test_rows_find_the_token_of_the_notebooks_own_server(
    server: ScriptedServer, parent: Callable[[str], str]
) -> None:
    url = parent(server.url)
    assert endpoint().url == url
    pd.Series(["a"]).ollama.at(endpoint().url).embed()
    assert sent(server) == {f"Bearer {SECRET}"}
    # No other server gets it, not even another one of the same host.
    assert discover(server.url).token is None


@pytest.mark.parametrize("way", ["connect", "config", "host"])
def test_rows_find_the_token_of_the_magics(
    serve: Callable[..., str],
    shell: InteractiveShell,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    server = RowServer()
    url = serve(row_application(server))
    if way == "connect":
        script = ScriptedServer()
        script.url = url = serve(application(script))
        shell.run_line_magic("ollama", f"connect {url} --token {SECRET}")
    elif way == "config":
        magics: Any = shell.magics_manager.registry["OllamaMagics"]
        magics.url, magics.token = url, SECRET
    else:
        monkeypatch.delenv("JUPYTER_OLLAMA_URL")
        monkeypatch.setenv("OLLAMA_HOST", url)
        monkeypatch.setenv("OLLAMA_API_KEY", SECRET)
    asked = pd.Series(["a"]).ollama.at(url)
    if way == "connect":
        asked.embed()
        assert sent(script) - {""} == {f"Bearer {SECRET}"}
    else:
        asked.chat()
        assert server.tokens == {f"Bearer {SECRET}"}


def test_a_kernel_shows_none(
    server: ScriptedServer, kernel_at: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_TOKEN", SECRET)
    with kernel_at(server.url) as kernel:
        shown = list(_shown(kernel))
    assert len(shown) == 6
    assert SECRET not in str(shown)


def _shown(kernel: Kernel) -> Iterator[Any]:
    kernel.run("from jupyter_ollama_magics import endpoint\nfound = endpoint()")
    for code in ("found", "found.headers", "found.token", "[found]", "vars(found.client())"):
        reply, messages = kernel.run(code)
        assert reply["status"] == "ok"
        yield messages
    yield kernel.run("1 / (0 * len(found.token))")
