"""Configuration files of other programs: what stays in them, and the way back, byte for byte."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cli_process import Ollama, Served

from jupyter_ollama.cli.command import CommandError
from jupyter_ollama.cli.launch.assistants import JUPYTER_AI, NOTEBOOK_INTELLIGENCE
from jupyter_ollama.cli.launch.coding_agents import AIDER, CLAUDE, CODEX, OPENCODE
from jupyter_ollama.cli.launch.config_file import plan, restore, write
from jupyter_ollama.cli.launch.editor_extensions import CONTINUE
from jupyter_ollama.cli.launch.program import Program
from jupyter_ollama.cli.launch.target import Target

TARGET = Target("http://gpu/ollama", "sesame", "qwen3:4b", 32768)
OTHER = Target("http://gpu/ollama", "sesame", "gemma3:4b", 32768)

OPENCODE_FILE = b"""{
\t"theme": "dark",
\t"provider": {
\t\t"anthropic": {"options": {"apiKey": "sk-ant"}}
\t},
\t"model": "anthropic/claude"
}"""
CONTINUE_FILE = b"""# my models
name: Mine
version: 2.0.0
models:
  # the fast one
  - name: "Fast"   # do not touch
    provider: openai
    model: gpt-5
rules:
  - Be 'brief'
"""
AIDER_FILE = b"""##########
# aider
##########
dark-mode: true   # always
set-env:
- OLLAMA_API_BASE=http://old
- OTHER=1
"""
CODEX_FILE = b"""# by hand
approval_policy = "never"   # risky

[mcp_servers.x]
url = "http://x"
"""
CLAUDE_FILE = b'{"permissions": {"allow": ["Bash(ls)"]}, "env": {"FOO": "1"}}\r\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR", "CONTINUE_GLOBAL_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def set_up(program: Program, target: Target) -> str:
    """Write the file of a program and return it."""
    (edit,) = program.edits(target)
    write(plan(edit), private=True)
    return edit.path.read_text()


@pytest.mark.parametrize(
    ("program", "before", "kept"),
    [
        (OPENCODE, OPENCODE_FILE, ['\t"theme": "dark"', "sk-ant"]),
        (CLAUDE, CLAUDE_FILE, ["Bash(ls)", '"FOO": "1"']),
        (CODEX, CODEX_FILE, ["# by hand", '"never"   # risky', "[mcp_servers.x]"]),
        (CONTINUE, CONTINUE_FILE, ["# my models", "# the fast one", '"Fast"   # do not touch']),
        (AIDER, AIDER_FILE, ["##########\n# aider", "true   # always", "OTHER=1"]),
    ],
)
def test_other_content_and_comments_stay_and_restore_is_exact(
    program: Program, before: bytes, kept: list[str]
) -> None:
    (path,) = (path for path in program.paths() if path.suffix != ".jsonc")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(before)
    path.chmod(0o644)
    text = set_up(program, TARGET)
    for part in kept:
        assert part in text
    assert "qwen3:4b" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # A second model replaces the first; the copy still has the user's own file.
    text = set_up(program, OTHER)
    assert "gemma3:4b" in text
    for part in kept:
        assert part in text
    restore(path)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [one.name for one in path.parent.iterdir() if "jupyter-ollama" in one.name] in (
        [],
        [path.name],
    )


def test_former_entries_of_ours_are_replaced() -> None:
    set_up(CONTINUE, TARGET)
    text = set_up(CONTINUE, OTHER)
    assert text.count("(jupyter-ollama)") == 1
    assert "old" not in set_up(AIDER, TARGET)
    found = json.loads(set_up(JUPYTER_AI, TARGET))
    found = json.loads(set_up(JUPYTER_AI, OTHER))
    assert [one["model_id"] for one in found["custom_models"]] == ["openai/gemma3:4b"]
    assert found["model_provider_id"] == "openai/gemma3:4b"
    found = json.loads(set_up(NOTEBOOK_INTELLIGENCE, OTHER))
    properties = {one["id"]: one["value"] for one in found["chat_model"]["properties"]}
    assert properties["context_window"] == "32768"


@pytest.mark.parametrize(
    ("program", "content", "reason"),
    [
        (OPENCODE, b'{"theme": "dark", // mine\n}', "has comments"),
        (OPENCODE, b"[1, 2]", "not a JSON object"),
        (CLAUDE, b'{"env": {', "not plain JSON"),
        (CONTINUE, b"models: [", "not YAML"),
        (CONTINUE, b"- a\n- b\n", "not a YAML mapping"),
        (CODEX, b"model = ", "not TOML"),
        (AIDER, b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_changed_stays_as_it_is(
    program: Program, content: bytes, reason: str
) -> None:
    path = program.paths()[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    (edit,) = program.edits(TARGET)
    with pytest.raises(CommandError, match=reason):
        plan(edit)
    assert path.read_bytes() == content


def test_a_link_to_a_folder_of_dotfiles_stays_a_link(home: Path) -> None:
    real = home / "dotfiles" / "settings.json"
    real.parent.mkdir()
    real.write_bytes(CLAUDE_FILE)
    link = home / ".claude" / "settings.json"
    link.parent.mkdir()
    link.symlink_to(real)
    set_up(CLAUDE, TARGET)
    assert link.is_symlink()
    assert "qwen3:4b" in real.read_text()
    restore(link)
    assert link.is_symlink()
    assert real.read_bytes() == CLAUDE_FILE


def test_a_diff_shows_no_keys_of_others(ollama: Ollama, server: Served, home: Path) -> None:
    path = home / ".config" / "opencode" / "opencode.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(OPENCODE_FILE)
    variables = {"HOME": str(home), "OLLAMA_API_KEY": "sesame"}
    done = ollama("launch", "opencode", "--config", "--yes", host=server.host, **variables)
    assert done.returncode == 0, done.stderr
    assert "sk-ant" not in done.stdout
    assert "sesame" not in done.stdout
    assert "jupyter-ollama/smollm2" in done.stdout
    done = ollama("launch", "opencode", "--restore", "--yes", host=server.host, **variables)
    assert "sesame" not in done.stdout
    assert path.read_bytes() == OPENCODE_FILE


def test_a_folder_that_cannot_be_written_is_an_error(home: Path) -> None:
    (home / ".codex").write_text("a file where a folder should be")
    (edit,) = CODEX.edits(TARGET)
    with pytest.raises(CommandError):
        write(plan(edit), private=True)
