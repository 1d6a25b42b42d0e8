"""`jupyter ollama setup`: new kernels load the magics, or no longer."""

from __future__ import annotations

from pathlib import Path

from cli_process import Ollama


def test_autoload_is_set_reported_and_removed(ollama: Ollama, tmp_path: Path) -> None:
    config = tmp_path / "profile_work" / "ipython_config.py"

    def setup(*arguments: str) -> str:
        done = ollama("setup", "--profile", "work", *arguments, IPYTHONDIR=str(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
        return str(done.stdout)

    assert "do not load the magics" in setup()
    assert f"Changed: {config}" in setup("--autoload")
    assert "jupyter_ollama_magics" in config.read_text()
    assert f"Nothing to change in {config}" in setup("--autoload")
    assert setup().endswith("Off: jupyter ollama setup --no-autoload\n")
    assert f"Changed: {config}" in setup("--no-autoload")
    assert not config.exists()


def test_a_faulty_configuration_is_an_error(ollama: Ollama, tmp_path: Path) -> None:
    config = tmp_path / "profile_default" / "ipython_config.py"
    config.parent.mkdir()
    config.write_text("x = (")
    done = ollama("setup", "--autoload", IPYTHONDIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"Error: {config} has a syntax error in line 1. Nothing was changed.\n"
