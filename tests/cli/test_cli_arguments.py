"""Help, mistakes on the command line, and servers that cannot be reached."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_process import Ollama, Peer

from jupyter_ollama import __version__
from jupyter_ollama.cli.app import COMMANDS


def test_alone_it_prints_its_commands(ollama: Ollama) -> None:
    done = ollama()
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert ollama("--help").stdout == done.stdout


def test_it_is_a_subcommand_of_jupyter(environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["jupyter", "ollama", "--version"], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == __version__


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(ollama: Ollama, command: str) -> None:
    done = ollama(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: jupyter ollama {command} ")


def test_help_loads_nothing_heavy(environment: dict[str, str]) -> None:
    heavy = ["llama_cpp", "numpy", "pandas", "httpx2", "IPython", "tornado", "jupyter_server"]
    code = (
        "import sys\n"
        "from jupyter_ollama.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], 'unknown command "fly" for "jupyter ollama"'),
        (["cp", "a"], "the following arguments are required: DESTINATION"),
        (["rm"], "the following arguments are required: MODEL"),
        (["run", "m", "--loud", "hello"], "unrecognized arguments: --loud"),
        (["show", "m", "--system", "--license"], "only one of --system, --license"),
        (["run", "m", "--format", "{", "hi"], "--format is neither 'json' nor a JSON schema"),
        (["create", "m", "-f", "/nowhere/Modelfile"], "/nowhere/Modelfile: No such file"),
    ],
)
def test_mistakes_are_one_error_with_status_1(
    ollama: Ollama, arguments: list[str], message: str
) -> None:
    done = ollama(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["ps"], ["show", "m"], ["cp", "a", "b"], ["rm", "a"], ["stop", "a"], ["run", "m"]],
)
def test_without_a_server_the_error_names_the_address(ollama: Ollama, arguments: list[str]) -> None:
    done = ollama(*arguments, host="127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no server answers at http://127.0.0.1:1 ")
    assert "jupyter ollama serve" in done.stderr


def test_the_default_address(ollama: Ollama) -> None:
    done = ollama("list", host="")
    assert "http://127.0.0.1:11434" in done.stderr or done.returncode == 0


def test_path_and_token_of_a_server_behind_jupyter(ollama: Ollama, peer: Peer) -> None:
    peer.answers["/api/tags"] = [{"models": []}]
    done = ollama("list", host=f"http://{peer.host}/user/me/ollama/", OLLAMA_API_KEY=" secret ")
    assert done.returncode == 0
    method, path, headers, _ = peer.requests[0]
    assert (method, path) == ("GET", "/user/me/ollama/api/tags")
    assert headers["Authorization"] == "Bearer secret"


def test_an_invalid_address(ollama: Ollama) -> None:
    done = ollama("ps", host="ftp://somewhere")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: OLLAMA_HOST is not an address")
