"""``%%chat --tools mcp:NAME``: a real server, a real MCP server and a model with a script."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cli_process import serving
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_client import Client
from jupyter_ollama_magics.failures import OllamaMagicsError
from real_kernel import Kernel
from scripted_model import MESSAGES, write_scripts
from scripted_server import ScriptedServer
from store_models import add_model

from jupyter_ollama.library.library import Library

SCRIPT = Path(__file__).parents[1] / "small_mcp_server.py"
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 20, "b": 22}}\n</tool_call>'
SECRET = '<tool_call>\n{"name": "secret_of_the_server", "arguments": {}}\n</tool_call>'
SCRIPTS = {
    "SUM": CALL,
    "42": "It makes forty-two.",
    "SECRET": SECRET,
    "Error": "I cannot.",
}
LINE = "adder --temperature 0 --num-ctx 1024"


@pytest.fixture(scope="module")
def mcp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the model "adder" and the MCP servers "small" and "broken"."""
    folder = tmp_path_factory.mktemp("mcp")
    path = write_scripts(
        folder / "adder.gguf",
        SCRIPTS,
        template="{# <tool_call> #}{% if tools %}[{{ tools | length }} tools]{% endif %}"
        + MESSAGES,
    )
    add_model(Library.open(folder / "models"), "adder", path)
    servers = {
        "small": {"command": sys.executable, "args": [str(SCRIPT)], "tools": ["add", "fail"]},
        "broken": {"command": "no-such-program", "tools": ["x"]},
    }
    setting = f"--OllamaServer.mcp_servers={servers!r}"
    with serving({**os.environ, "HOME": str(folder)}, folder / "models", folder, setting) as served:
        yield f"http://{served.host}"


@pytest.fixture
def kernel(
    mcp_server: str, kernel_at: Callable[[str], AbstractContextManager[Kernel]]
) -> Iterator[Kernel]:
    """A kernel with the magics, connected to that server."""
    with kernel_at(mcp_server) as kernel:
        yield kernel


def test_a_tool_runs_after_yes_and_its_result_goes_back(kernel: Kernel) -> None:
    questions = []

    def agree() -> None:
        questions.append(kernel.client.get_stdin_msg(timeout=60)["content"]["prompt"])
        kernel.client.input("y")

    reply, messages = kernel.run(f"%%chat {LINE} --tools mcp:small -o answer\nSUM", agree)
    assert reply["status"] == "ok", reply
    assert questions == [
        "The model wants to run add(a=20, b=22) of the MCP server small. Run it? [y/N] "
    ]
    assert "It makes forty-two." in messages[-1][1]["data"]["text/markdown"]
    _, messages = kernel.run("print(answer.text, [call.outcome for call in answer.calls])")
    assert messages[0][1]["text"] == "It makes forty-two. ['42']\n"


def test_a_refused_call_does_not_run(kernel: Kernel) -> None:
    def refuse() -> None:
        kernel.client.get_stdin_msg(timeout=60)
        kernel.client.input("n")

    kernel.run(f"%%chat {LINE} --tools mcp:small.add -o answer\nSUM", refuse)
    _, messages = kernel.run("print(answer.text, [call.outcome for call in answer.calls])")
    assert messages[0][1]["text"] == "I cannot. ['Error: the user did not allow this call.']\n"


def test_a_tool_that_is_not_allowed_cannot_be_called(kernel: Kernel) -> None:
    """A text of the notebook may make a model call anything: only what is allowed runs."""
    kernel.run("%config OllamaMagics.tool_policy = ['mcp:small.add', 'mcp:small.fail']")
    reply, _ = kernel.run(f"%%chat {LINE} --tools mcp:small -o answer\nSECRET")
    assert reply["status"] == "ok", reply
    _, messages = kernel.run("print([call.outcome for call in answer.calls])")
    assert "there is no function secret_of_the_server" in messages[0][1]["text"]
    assert "42" not in messages[0][1]["text"]


@pytest.fixture
def mcp_shell(
    mcp_server: str, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> InteractiveShell:
    """A shell with the magics, connected to that server."""
    shell.run_line_magic("config", f"OllamaMagics.url = {mcp_server!r}")
    return shell


def chat(shell: InteractiveShell, line: str) -> None:
    shell.run_cell_magic("chat", f"adder {line}", "SUM")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("mcp:absent", r"has no MCP server absent\. It has broken, small\."),
        ("mcp:small.absent", "The MCP server small has no tool absent"),
        (
            "mcp:small.crash",
            "crash of small is not among the tools OllamaServer.mcp_servers allows",
        ),
        ("mcp:broken", "gives no tools: .*no-such-program is not found"),
        ("mcp:small,mcp:small.add", "two functions named add"),
    ],
)
def test_wrong_names_are_errors(mcp_shell: InteractiveShell, names: str, text: str) -> None:
    with pytest.raises(OllamaMagicsError, match=text):
        chat(mcp_shell, f"--tools {names}")


def test_the_policy_knows_tools_by_their_server(mcp_shell: InteractiveShell) -> None:
    """A function of the same name that may run unasked does not open the tool of a server."""
    mcp_shell.run_line_magic("config", "OllamaMagics.tool_policy = ['add']")
    with pytest.raises(OllamaMagicsError, match=r"mcp:small\.add is not among the tools"):
        chat(mcp_shell, "--tools mcp:small.add")
    mcp_shell.run_line_magic("config", "OllamaMagics.tool_policy = 'never'")
    with pytest.raises(OllamaMagicsError, match="switched off"):
        chat(mcp_shell, "--tools mcp:small")


def test_a_server_of_another_program_has_no_such_route(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    with pytest.raises(OllamaMagicsError, match="has no MCP servers: it is another server"):
        shell.run_cell_magic("chat", "smollm2:135m --tools mcp:small", "Hi")


def test_the_client_calls_tools(mcp_server: str) -> None:
    client = Client(mcp_server)
    small, broken = client.mcp_tools()
    assert [tool["name"] for tool in small["tools"]] == ["add", "fail"]
    assert "no-such-program" in broken["error"]
    answer = client.call_mcp_tool("small", "add", {"a": 1, "b": 2})
    assert answer == {"content": "3", "is_error": False, "truncated": False}
    client.close()
