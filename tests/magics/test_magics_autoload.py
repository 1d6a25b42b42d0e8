"""Autoload: the magics in every new kernel, by IPython's configuration."""

from __future__ import annotations

import ast
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_ollama_client import autoload
from nbclient import NotebookClient
from scripted_server import ScriptedServer

CONFIGS = {
    "none": None,
    "lines": b"# mine\nc = get_config()\nc.InteractiveShell.ast_node_interactivity = 'all'\n",
    "no end of line": b"c.InteractiveShell.colors = 'nocolor'",
    "of Windows": b"c.InteractiveShell.colors = 'nocolor'\r\n",
    "a list of extensions": b"c.InteractiveShellApp.extensions = ['autoreload']\n",
    "a comment": b"# c.InteractiveShellApp.extensions = ['jupyter_ollama']\n",
}
REPORT = """\
manager = get_ipython().magics_manager.magics
print('chat' in manager['cell'], 'autoreload' in manager['line'])"""


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the default profile of an IPython without configuration."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    return tmp_path / "profile_default"


def executed(*sources: str) -> list[Any]:
    """Run cells in a new kernel, and return them."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    return list(notebook.cells)


def test_a_new_kernel_chats_at_once(
    profile: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)
    server.steps = ["Hello"]
    assert not autoload.is_enabled()
    assert autoload.enable()
    assert autoload.is_enabled()
    # Loading them again is no error, and writes nothing.
    chat, again = executed("%%chat smollm2:135m\ncount", "%load_ext jupyter_ollama")
    assert "Hello" in chat.outputs[0].data["text/markdown"]
    assert again.outputs == []


@pytest.mark.parametrize("kept", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_configuration_is_kept(profile: Path, kept: bytes | None) -> None:
    path = profile / "ipython_config.py"
    if kept is not None:
        profile.mkdir()
        path.write_bytes(kept)
        path.chmod(0o640)
    assert autoload.enable()
    changed = path.read_bytes()
    assert changed.startswith(kept or b"")
    assert (changed.count(b"\r\n") == changed.count(b"\n")) == (b"\r\n" in (kept or b""))
    assert kept is None or stat.S_IMODE(path.stat().st_mode) == 0o640
    assert not autoload.enable()
    assert path.read_bytes() == changed
    (report,) = executed(REPORT)
    assert report.outputs[0].text == f"True {b'autoreload' in (kept or b'')}\n"
    assert autoload.disable()
    assert (path.read_bytes() if path.exists() else None) == kept
    assert not autoload.disable()


def test_lines_below_are_kept(profile: Path) -> None:
    autoload.enable()
    path = profile / "ipython_config.py"
    path.write_text(path.read_text() + "c.InteractiveShell.colors = 'nocolor'\n")
    assert autoload.disable()
    assert path.read_text() == "c.InteractiveShell.colors = 'nocolor'\n"


def test_a_link_stays_a_link(profile: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.py"
    real.write_text("x = 1\n")
    profile.mkdir()
    (profile / "ipython_config.py").symlink_to(real)
    assert autoload.enable()
    assert (profile / "ipython_config.py").is_symlink()
    assert "jupyter_ollama_magics" in real.read_text()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"x = (\n", "syntax error in line 1"), (b"\xff\n", "not UTF-8")],
    ids=["syntax", "encoding"],
)
def test_a_faulty_configuration_is_not_changed(profile: Path, content: bytes, reason: str) -> None:
    profile.mkdir()
    (profile / "ipython_config.py").write_bytes(content)
    with pytest.raises(autoload.AutoloadError, match=reason):
        autoload.enable()
    assert (profile / "ipython_config.py").read_bytes() == content
    assert [file.name for file in profile.iterdir()] == ["ipython_config.py"]


def test_own_lines_are_left_to_their_author(profile: Path) -> None:
    profile.mkdir()
    path = profile / "ipython_config.py"
    path.write_text("c.InteractiveShellApp.extensions = ['jupyter_ollama']\n")
    assert autoload.is_enabled()
    assert not autoload.enable()
    with pytest.raises(autoload.AutoloadError, match="lines of your own"):
        autoload.disable()


def test_an_environment_without_the_magics_is_not_disturbed(profile: Path) -> None:
    autoload.enable()
    path = profile / "ipython_config.py"
    path.write_text(path.read_text().replace("jupyter_ollama_magics", "jupyter_ollama_nowhere"))
    command = [sys.executable, "-m", "IPython", "--no-banner", "-c", "print(6 * 7)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("42\n", "")


def test_a_kernel_without_a_server_starts_light(
    profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No server listens on this port.
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", "http://127.0.0.1:9")
    code = "import sys\nprint(sorted(sys.modules))"
    (without,) = executed(code)
    autoload.enable()
    (cell,) = executed(code)
    added = set(ast.literal_eval(cell.outputs[0].text))
    added -= set(ast.literal_eval(without.outputs[0].text))
    assert "jupyter_ollama_magics" in added
    assert not added & {"pandas", "numpy", "ipywidgets", "PIL", "httpx2", "ssl", "jupyter_core"}
