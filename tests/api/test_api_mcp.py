"""Tools of MCP servers: a real one by stdio and by HTTP, its faults, and who may call it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error, fetcher, wait_until
from cli_process import free_port
from tornado.httpclient import AsyncHTTPClient
from traitlets import TraitError
from traitlets.config import Config

from jupyter_ollama.config import OllamaServer

SCRIPT = str(Path(__file__).parents[1] / "small_mcp_server.py")
SLEEP = "import time; time.sleep(99)"
ALLOWED = ["add", "fail", "long_text", "hang", "crash", "environment"]
STDIO = {"command": sys.executable, "args": [SCRIPT], "tools": ALLOWED}


@pytest.fixture
def ollama_server(models_dir: Path, jp_asyncio_loop: Any) -> Iterator[OllamaServer]:
    server = OllamaServer(
        models_dir=str(models_dir), mcp_servers={"small": STDIO}, mcp_max_result=1000
    )
    yield server
    jp_asyncio_loop.run_until_complete(server.stop())


@pytest.fixture
def jp_server_config(jp_server_config: Config) -> Config:
    jp_server_config.OllamaServer.mcp_servers = {"small": STDIO}
    return jp_server_config


async def call(fetch: Fetch, tool: str, **arguments: Any) -> Any:
    body = {"server": "small", "tool": tool, "arguments": arguments}
    return await fetch("POST", "/api/mcp/call", body)


async def content(fetch: Fetch, tool: str, **arguments: Any) -> str:
    answer = await call(fetch, tool, **arguments)
    assert answer.code == 200, answer.body
    found: str = json.loads(answer.body)["content"]
    return found


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended may wait for its parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def wait_for_end(pid: int) -> None:
    """Wait until a process has ended."""
    end = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def test_without_servers_there_are_no_tools(
    listening: Callable[..., Any], models_dir: Path
) -> None:
    fetch = fetcher(await listening(OllamaServer(models_dir=str(models_dir))), {})
    answer = await fetch("GET", "/api/mcp")
    assert json.loads(answer.body) == {"servers": []}
    answer = await call(fetch, "add", a=1, b=2)
    assert (answer.code, error(answer)) == (404, "there is no MCP server 'small'")


async def test_allowed_tools_are_listed_and_called(either: Fetch) -> None:
    (server,) = json.loads((await either("GET", "/api/mcp")).body)["servers"]
    assert [tool["name"] for tool in server["tools"]] == ALLOWED
    assert (server["not_allowed"], server["error"]) == (["page", "secret_of_the_server"], "")
    add = server["tools"][0]
    assert add["description"] == "Add two numbers."
    assert add["parameters"]["required"] == ["a", "b"]
    answer = await call(either, "add", a=20, b=22)
    expected = {"content": "42", "is_error": False, "truncated": False}
    assert (answer.code, json.loads(answer.body)) == (200, expected)


async def test_other_tools_cannot_be_called(standalone: Fetch) -> None:
    answer = await call(standalone, "secret_of_the_server")
    assert answer.code == 403
    assert "OllamaServer.mcp_servers lists the tools" in error(answer)
    for body in ({}, {"server": "small"}, {"server": "small", "tool": 3}, {"tool": "add"}):
        assert (await standalone("POST", "/api/mcp/call", body)).code == 400


async def test_errors_of_a_tool_are_results_for_the_model(standalone: Fetch) -> None:
    answer = json.loads((await call(standalone, "fail")).body)
    assert answer["is_error"]
    assert "it fails on purpose" in answer["content"]
    wrong = json.loads((await call(standalone, "add", a="many")).body)
    assert wrong["is_error"]
    assert await content(standalone, "add", a=1, b=1) == "2"


async def test_long_results_are_cut(standalone: Fetch) -> None:
    answer = json.loads((await call(standalone, "long_text", length=5000)).body)
    assert answer["truncated"]
    assert answer["content"] == "x" * 1000 + "\n… (cut: 1000 of 5000 characters)"


async def test_a_process_inherits_no_tokens_and_ends_with_the_server(
    listening: Callable[..., Any], models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "sesame")
    monkeypatch.setenv("HF_TOKEN", "sesame")
    monkeypatch.setenv("SOME_OTHER_VARIABLE", "x")
    given = STDIO | {"env": {"GIVEN": "1", "API_TOKEN": "meant for it"}}
    server = OllamaServer(models_dir=str(models_dir), mcp_servers={"small": given})
    fetch = fetcher(await listening(server), {})
    pid, *names = (await content(fetch, "environment")).split()
    assert {"GIVEN", "API_TOKEN", "PATH"} <= {*names}
    assert not {"JUPYTER_TOKEN", "HF_TOKEN", "SOME_OTHER_VARIABLE"} & {*names}
    assert alive(int(pid))
    await server.stop()
    await wait_for_end(int(pid))


async def test_a_crash_is_an_error_that_names_it_and_the_next_call_works(
    standalone: Fetch,
) -> None:
    pid = int((await content(standalone, "environment")).split()[0])
    answer = await call(standalone, "crash")
    assert answer.code == 502
    assert error(answer).startswith("the MCP server small failed: ")
    assert error(answer).endswith("(something broke)")
    assert int((await content(standalone, "environment")).split()[0]) != pid


async def test_an_answer_that_is_an_error_of_the_protocol_keeps_the_process(
    listening: Callable[..., Any], models_dir: Path
) -> None:
    given = STDIO | {"tools": ["environment", "absent"]}
    server = OllamaServer(models_dir=str(models_dir), mcp_servers={"small": given})
    fetch = fetcher(await listening(server), {})
    pid = int((await content(fetch, "environment")).split()[0])
    answer = await call(fetch, "absent")
    assert answer.code == 502 or json.loads(answer.body)["is_error"]
    assert int((await content(fetch, "environment")).split()[0]) == pid
    (listed,) = json.loads((await fetch("GET", "/api/mcp")).body)["servers"]
    assert listed["error"] == "the MCP server small has no usable tool absent"


async def test_a_process_that_was_killed_while_idle_is_started_again(standalone: Fetch) -> None:
    pid = int((await content(standalone, "environment")).split()[0])
    os.kill(pid, signal.SIGKILL)
    await wait_for_end(pid)
    again = int((await content(standalone, "environment")).split()[0])
    assert again != pid


async def test_a_server_that_hangs_is_stopped_and_started_again(
    listening: Callable[..., Any], models_dir: Path
) -> None:
    settings = {"mcp_servers": {"small": STDIO}, "mcp_call_seconds": 1.0}
    fetch = fetcher(await listening(OllamaServer(models_dir=str(models_dir), **settings)), {})
    pid = int((await content(fetch, "environment")).split()[0])
    answer = await call(fetch, "hang")
    assert answer.code == 504
    assert "did not answer within 1 s and was stopped" in error(answer)
    await wait_for_end(pid)
    assert await content(fetch, "add", a=1, b=2) == "3"


async def test_too_many_calls_are_refused(listening: Callable[..., Any], models_dir: Path) -> None:
    settings = {"mcp_servers": {"small": STDIO}, "mcp_call_seconds": 5.0, "mcp_concurrent": 1}
    server = OllamaServer(models_dir=str(models_dir), **settings)
    fetch = fetcher(await listening(server), {})
    await content(fetch, "add", a=1, b=2)
    first = asyncio.ensure_future(call(fetch, "hang"))
    await wait_until(lambda: server.mcp.running("small") == 1)
    second = await call(fetch, "add", a=1, b=2)
    assert (second.code, "1 calls" in error(second)) == (429, True)
    assert (await first).code == 504


@pytest.mark.parametrize(
    ("given", "seconds", "status", "text"),
    [
        ({"command": "no-such-program"}, 60, 502, "no-such-program is not found"),
        ({"command": sys.executable, "args": ["-c", "1/0"]}, 60, 502, "ZeroDivisionError"),
        ({"command": sys.executable, "args": ["-c", SLEEP]}, 2, 504, "did not start within 2 s"),
        ({"url": "http://127.0.0.1:9/mcp"}, 60, 502, "does not start"),
    ],
)
async def test_servers_that_do_not_start(
    listening: Callable[..., Any],
    models_dir: Path,
    given: dict[str, Any],
    seconds: int,
    status: int,
    text: str,
) -> None:
    servers = {"small": given | {"tools": ["add"]}, "other": STDIO}
    settings = {"mcp_servers": servers, "mcp_start_seconds": seconds}
    server = OllamaServer(models_dir=str(models_dir), **settings)
    fetch = fetcher(await listening(server), {})
    answer = await call(fetch, "add", a=1, b=2)
    assert (answer.code, text in error(answer)) == (status, True), answer.body
    broken, other = json.loads((await fetch("GET", "/api/mcp")).body)["servers"]
    assert broken["tools"] == []
    assert text in broken["error"]
    assert seconds < 60 or len(other["tools"]) == len(ALLOWED)  # one fault does not stop others


async def test_a_server_by_http(listening: Callable[..., Any], models_dir: Path) -> None:
    port = free_port()
    command = (sys.executable, SCRIPT, str(port))
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        while b"running on" not in (line := await process.stderr.readline()):
            assert line
        given = {"url": f"http://127.0.0.1:{port}/mcp", "tools": ["add", "fail"]}
        server = OllamaServer(models_dir=str(models_dir), mcp_servers={"small": given})
        fetch = fetcher(await listening(server), {})
        assert await content(fetch, "add", a=20, b=22) == "42"
        (listed,) = json.loads((await fetch("GET", "/api/mcp")).body)["servers"]
        assert [tool["name"] for tool in listed["tools"]] == ["add", "fail"]
    finally:
        process.kill()
        await process.wait()
    answer = await call(fetch, "add", a=1, b=2)
    assert answer.code in (502, 504)
    assert "the MCP server small" in error(answer)


async def test_a_shared_server_has_none_unless_it_is_set(
    listening: Callable[..., Any], models_dir: Path
) -> None:
    for allowed in (False, True):
        server = OllamaServer(
            models_dir=str(models_dir),
            mcp_servers={"small": STDIO},
            shared=True,
            mcp_shared=allowed,
        )
        fetch = fetcher(await listening(server), {})
        servers = json.loads((await fetch("GET", "/api/mcp")).body)["servers"]
        assert len(servers) == allowed
        assert (await call(fetch, "add", a=1, b=2)).code == (200 if allowed else 403)


async def test_a_caller_needs_the_token_of_the_jupyter_server(jupyter_url: str) -> None:
    fetch = fetcher(jupyter_url + "/ollama", {})
    assert (await fetch("GET", "/api/mcp")).code == 403
    assert (await call(fetch, "add", a=1, b=2)).code == 403


async def test_a_foreign_page_cannot_call(standalone_url: str) -> None:
    answer = await AsyncHTTPClient().fetch(
        f"{standalone_url}/api/mcp/call",
        method="POST",
        body=json.dumps({"server": "small", "tool": "add", "arguments": {"a": 1, "b": 2}}),
        headers={"Origin": "https://evil.example"},
        raise_error=False,
    )
    assert answer.code == 403


@pytest.mark.parametrize(
    ("servers", "text"),
    [
        ({"a b": STDIO}, "is no name"),
        ({"a": {"tools": ["x"]}}, "needs either a command or a url"),
        ({"a": {"command": "x", "url": "http://y"}}, "needs either a command or a url"),
        ({"a": {"url": "ftp://y"}}, "must begin with http"),
        ({"a": {"command": "x", "tools": "add"}}, "tools must be a list of texts"),
        ({"a": {"command": "x", "env": {"A": 1}}}, "env must be a dict of texts"),
        ({"a": {"command": "x", "tool": ["add"]}}, "unknown keys: tool"),
        ({"a": "x"}, "a is not a dict"),
    ],
)
def test_faulty_settings_are_refused(servers: Any, text: str) -> None:
    with pytest.raises(TraitError, match=text):
        OllamaServer(mcp_servers=servers)


def test_the_package_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, jupyter_ollama.extension, jupyter_ollama.api.routes\n"
        "from jupyter_ollama.config import OllamaServer\n"
        "OllamaServer(mcp_servers={'a': {'command': 'x'}})\n"
        "assert not {'mcp', 'pydantic', 'ruamel', 'tomlkit'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
