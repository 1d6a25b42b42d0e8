"""`jupyter ollama launch`: what is written, asked and started, with a real server."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path

import pytest
import yaml
from cli_process import PROGRAM, Ollama, Served, Terminal

TOKEN = "sesame-1234"
FILES = {
    "opencode": ".config/opencode/opencode.json",
    "claude": ".claude/settings.json",
    "codex": ".codex/jupyter-ollama.config.toml",
    "continue": ".continue/config.yaml",
    "cline": ".cline/data/settings/providers.json",
    "aider": ".aider.conf.yml",
    "jupyter-ai": "data/jupyter_ai/config.json",
    "notebook-intelligence": ".jupyter/nbi/config.json",
}
COMMANDS = {"continue": "cn"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder of a user with a folder of programs, which record how they start."""
    (tmp_path / "bin").mkdir()
    return tmp_path


def settings(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "OLLAMA_API_KEY": TOKEN,
        "JUPYTER_DATA_DIR": str(home / "data"),
        "PATH": f"{home / 'bin'}{os.pathsep}{Path(PROGRAM).parent}{os.pathsep}/usr/bin:/bin",
    }


def install(home: Path, name: str) -> None:
    """Put a program on the path that records its arguments and environment."""
    program = home / "bin" / COMMANDS.get(name, name)
    program.write_text(f'#!/bin/sh\nenv > {home}/started.env\necho "$@" > {home}/started.args\n')
    program.chmod(0o755)


def started(home: Path) -> tuple[str, dict[str, str]]:
    """Return the arguments and the environment of the program that was started."""
    lines = (home / "started.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    return (home / "started.args").read_text().strip(), variables


@pytest.mark.parametrize("name", FILES)
def test_config_writes_a_private_file_and_restore_removes_it(
    ollama: Ollama, server: Served, home: Path, name: str
) -> None:
    def launch(*arguments: str) -> str:
        done = ollama("launch", name, *arguments, host=server.host, **settings(home))
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return str(done.stdout)

    path = home / FILES[name]
    dry = launch("--config", "--dry-run")
    assert "smollm2" in dry
    assert not path.exists()
    launch("--config", "--yes")
    text = path.read_text()
    assert TOKEN in text
    assert "smollm2" in text
    assert server.host in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    parse = {".toml": tomllib.loads, ".json": json.loads}.get(path.suffix, yaml.safe_load)
    assert parse(text)
    again = launch("--config")  # nothing to ask: nothing would change
    assert "already" in again
    assert path.read_text() == text
    launch("--restore", "--yes")
    assert not path.exists()
    assert not list(path.parent.glob("*jupyter-ollama*"))
    assert "no file that was changed" in launch("--restore")


def test_a_program_without_files_gets_lines_for_a_shell(
    ollama: Ollama, server: Served, home: Path
) -> None:
    done = ollama("launch", "open-webui", "--config", host=server.host, **settings(home))
    assert f"export OPENAI_API_BASE_URL=http://{server.host}/v1\n" in done.stdout
    assert f"export OPENAI_API_KEY={TOKEN}\n" in done.stdout


def test_programs_start_with_what_they_need_and_no_token_in_their_arguments(
    ollama: Ollama, server: Served, home: Path
) -> None:
    url = f"http://{server.host}"
    for name in ("opencode", "claude", "codex", "continue", "cline", "aider", "open-webui"):
        install(home, name)
        words = ("--model", "smollm2", "--yes", "--", "--verbose", "a b")
        done = ollama("launch", name, *words, host=server.host, **settings(home))
        assert done.returncode == 0, done.stderr
        arguments, variables = started(home)
        assert arguments.endswith("--verbose a b")
        assert TOKEN not in arguments
        if name == "claude":
            assert variables["ANTHROPIC_BASE_URL"] == url
            assert variables["ANTHROPIC_AUTH_TOKEN"] == TOKEN
            assert variables["ANTHROPIC_API_KEY"] == ""
            assert variables["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "smollm2"
            assert variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "8192"
        elif name == "opencode":
            content = json.loads(variables["OPENCODE_CONFIG_CONTENT"])
            assert content["model"] == "jupyter-ollama/smollm2"
            options = content["provider"]["jupyter-ollama"]["options"]
            assert options == {"baseURL": f"{url}/v1", "apiKey": TOKEN}
        elif name == "aider":
            assert arguments.startswith("--model ollama_chat/smollm2")
            assert variables["OLLAMA_API_BASE"] == url
        elif name == "codex":
            assert arguments.startswith("--profile jupyter-ollama")
    # What the environment carries is not written.
    assert not (home / FILES["claude"]).exists()
    assert not (home / FILES["opencode"]).exists()
    assert not (home / FILES["aider"]).exists()


def test_a_missing_program_names_the_way_to_get_it(
    ollama: Ollama, server: Served, home: Path
) -> None:
    done = ollama("launch", "codex", "--yes", host=server.host, **settings(home))
    assert done.returncode == 1
    assert done.stderr == "Error: Codex is not installed. Get it: npm install -g @openai/codex\n"
    assert not (home / FILES["codex"]).exists()


def test_nothing_is_written_without_a_yes(
    server: Served, home: Path, environment: dict[str, str], ollama: Ollama
) -> None:
    done = ollama("launch", "codex", "--config", host=server.host, **settings(home))
    assert done.returncode == 1
    assert "nothing was written" in done.stderr
    command = [str(PROGRAM), "launch", "codex", "--config"]
    variables = {**environment, **settings(home), "OLLAMA_HOST": server.host}
    path = home / FILES["codex"]
    with Terminal(command, variables) as terminal:
        shown = terminal.expect("Write this? [y/N] ")
        assert '+model = "smollm2"' in shown
        assert TOKEN not in shown
        terminal.type("n\n")
        assert terminal.status() == 1
    assert not path.exists()
    with Terminal(command, variables) as terminal:
        terminal.expect("Write this? [y/N] ")
        terminal.type("y\n")
        assert terminal.status() == 0
    assert tomllib.loads(path.read_text())["model"] == "smollm2"


def test_models_that_cannot_be_used(ollama: Ollama, server: Served, home: Path) -> None:
    def error(*arguments: str) -> str:
        done = ollama("launch", "codex", *arguments, host=server.host, **settings(home))
        assert done.returncode == 1
        return str(done.stderr)

    assert "Get it: jupyter ollama pull absent" in error("--model", "absent")
    assert "only makes embeddings" in error("--model", "all-minilm")
    ollama("cp", "smollm2", "second", host=server.host)
    try:
        assert "which model? --model NAME, one of: second, smollm2" in error("--config")
    finally:
        ollama("rm", "second", host=server.host)


def test_an_unknown_program_is_an_error(ollama: Ollama) -> None:
    done = ollama("launch", "emacs")
    assert done.returncode == 1
    assert "opencode" in done.stderr
