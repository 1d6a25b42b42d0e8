"""Jupyter's MCP server with our tools: a real Jupyter server, a real kernel, a real client."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

ALL = [
    "list_files",
    "read_file",
    "read_notebook",
    "read_cell",
    "inspect_variable",
    "add_cell",
    "edit_cell",
    "delete_cell",
    "run_cell",
    "list_models",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def jupyter_server(folder: Path, tools: list[str]) -> Iterator[str]:
    """Run a Jupyter server with both extensions in ``folder``; yield the address of its MCP."""
    port, mcp_port = free_port(), free_port()
    log = folder.with_suffix(".log")
    kept = {name: text for name, text in os.environ.items() if not name.startswith("JUPYTER")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"),
                *(f"--ServerApp.port={port}", f"--MCPExtensionApp.mcp_port={mcp_port}"),
                "--ServerApp.jpserver_extensions="
                "{'jupyter_ollama': True, 'jupyter_server_mcp': True}",
                f"--ServerApp.root_dir={folder}",
                *(f"--OllamaServer.notebook_tools={name}" for name in tools),
                "--OllamaServer.notebook_tool_max_text=1000",
                "--OllamaServer.notebook_tool_seconds=20",
            ],
            env={**kept, "HOME": str(folder.parent), "OLLAMA_MODELS": str(folder.parent / "none")},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while "MCP server started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{mcp_port}/mcp"
    finally:
        process.terminate()
        process.wait(60)


def use(url: str, work: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    """Run ``work`` with a session of the MCP server."""

    async def run() -> Any:
        while True:
            try:
                _, writer = await asyncio.open_connection(*url.split("/")[2].split(":"))
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        async with (
            streamable_http_client(url) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            return await work(session)

    return asyncio.run(asyncio.wait_for(run(), 240))


async def call(session: ClientSession, tool: str, /, **arguments: Any) -> Any:
    """Call a tool and return its value; errors of the tool raise AssertionError."""
    result = (await session.call_tool(tool, arguments)).model_dump(by_alias=True, mode="json")
    text = "\n".join(block.get("text", "") for block in result["content"])
    assert not result["isError"], text
    structured = result.get("structuredContent")
    if structured is not None:
        return structured.get("result", structured)
    return json.loads(text)


async def failure(session: ClientSession, tool: str, /, **arguments: Any) -> str:
    """Call a tool that fails and return the text of the error."""
    result = (await session.call_tool(tool, arguments)).model_dump(by_alias=True, mode="json")
    assert result["isError"], result
    return "\n".join(block.get("text", "") for block in result["content"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a notebook and a text."""
    folder = tmp_path_factory.mktemp("jupyter") / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("hello " * 400)
    (folder / "picture.bin").write_bytes(bytes(range(256)))
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell("values = [1, 2, 3]\nprint(sum(values))"),
        nbformat.v4.new_code_cell("1 / 0"),
        nbformat.v4.new_code_cell("print('x' * 5000)"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "book.ipynb")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """The MCP server of a Jupyter server that allows all tools."""
    with jupyter_server(folder, ALL) as address:
        yield address


def test_the_tools_have_schemas_and_descriptions(url: str) -> None:
    async def work(session: ClientSession) -> None:
        listed = (await session.list_tools()).model_dump(by_alias=True, mode="json")["tools"]
        tools = {tool["name"]: tool for tool in listed}
        assert {*ALL} <= {*tools}
        assert tools["edit_cell"]["inputSchema"]["required"] == ["path", "cell", "source"]
        assert "The cell is not run" in tools["add_cell"]["description"]

    use(url, work)


def test_files_are_read(url: str) -> None:
    async def work(session: ClientSession) -> None:
        found = await call(session, "list_files")
        assert [one["path"] for one in found] == ["book.ipynb", "notes.txt", "picture.bin"]
        text = await call(session, "read_file", path="notes.txt")
        assert text.endswith("… (cut: 1000 of 2400)")
        assert "not a text file" in await failure(session, "read_file", path="picture.bin")
        for path in ("../outside.txt", "absent.txt", "/etc/passwd"):
            assert "root:" not in await failure(session, "read_file", path=path)
        assert await call(session, "list_models") == []

    use(url, work)


def test_a_notebook_is_read_changed_and_run(url: str, folder: Path) -> None:
    async def work(session: ClientSession) -> None:
        book = await call(session, "read_notebook", path="book.ipynb")
        title, code, fault, long = book["cells"]
        assert (title["type"], code["source"][:6]) == ("markdown", "values")
        assert "no running kernel" in await failure(
            session, "inspect_variable", path="book.ipynb", name="values"
        )
        ran = await call(session, "run_cell", path="book.ipynb", cell=code["id"])
        assert (ran["status"], ran["outputs"].strip(), ran["saved"]) == ("ok", "6", True)
        failed = await call(session, "run_cell", path="book.ipynb", cell=fault["id"])
        assert failed["status"] == "error"
        assert failed["outputs"] == "ZeroDivisionError: division by zero"
        cut = await call(session, "run_cell", path="book.ipynb", cell=3)
        assert "… (cut: 1000 of" in cut["outputs"]
        seen = await call(session, "inspect_variable", path="book.ipynb", name="values")
        assert "list" in seen
        assert "[1, 2, 3]" in seen
        added = await call(
            session, "add_cell", path="book.ipynb", source="values.append(4)", number=2
        )
        assert added["number"] == 2
        await call(session, "edit_cell", path="book.ipynb", cell=added["id"], source="len(values)")
        ran = await call(session, "run_cell", path="book.ipynb", cell=added["id"])
        assert ran["outputs"] == "3"
        deleted = await call(session, "delete_cell", path="book.ipynb", cell=long["id"])
        assert deleted["deleted"]["source"].startswith("print('x'")
        assert "there is no cell" in await failure(
            session, "read_cell", path="book.ipynb", cell=long["id"]
        )
        again = await call(session, "read_cell", path="book.ipynb", cell=0)
        assert again["source"] == "# Title"

    use(url, work)
    saved = nbformat.read(folder / "book.ipynb", 4)
    nbformat.validate(saved)
    assert [cell.source for cell in saved.cells] == [
        "# Title",
        "values = [1, 2, 3]\nprint(sum(values))",
        "len(values)",
        "1 / 0",
    ]
    assert saved.cells[1].outputs[0].text == "6\n"
    assert saved.cells[2].outputs[0].data["text/plain"] == "3"


def test_a_cell_that_does_not_end_is_interrupted(url: str, folder: Path) -> None:
    async def work(session: ClientSession) -> None:
        path = "book.ipynb"
        added = await call(session, "add_cell", path=path, source="import time; time.sleep(999)")
        ran = await call(session, "run_cell", path=path, cell=added["id"])
        assert ran["status"] == "timeout"
        await call(session, "edit_cell", path=path, cell=added["id"], source="'alive'")
        ran = await call(session, "run_cell", path=path, cell=added["id"])
        assert ran["outputs"] == "'alive'"

    use(url, work)


def test_only_what_the_settings_name_is_there(folder: Path) -> None:
    async def work(session: ClientSession) -> None:
        tools = (await session.list_tools()).tools
        assert {tool.name for tool in tools} & {*ALL} == {"read_notebook"}
        before = (folder / "book.ipynb").read_bytes()
        for name in ("run_cell", "delete_cell"):
            await failure(session, name, path="book.ipynb", cell=1)
        assert (folder / "book.ipynb").read_bytes() == before

    with jupyter_server(folder, ["read_notebook"]) as url:
        use(url, work)


def test_nothing_is_there_by_default(folder: Path) -> None:
    async def work(session: ClientSession) -> None:
        assert not {tool.name for tool in (await session.list_tools()).tools} & {*ALL}

    with jupyter_server(folder, []) as url:
        use(url, work)
