"""`pip install`, `uv tool install` and `uvx`, from wheels in a folder to a streamed token.

The wheels of both distributions are built here; the rest comes from the package index. There is no
compiler on the search path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_process import free_port
from installed_wheel import make_wheel

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import installer  # noqa: E402
from installer import Installer, find_uv  # noqa: E402
from release import read_version  # noqa: E402

REQUIREMENT = f"jupyter-ollama=={read_version(ROOT)}"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of both distributions and of llama-cpp-python."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder)]
    run([*command, str(ROOT / "magics"), str(ROOT)], dict(os.environ))
    return folder


@pytest.fixture
def bare(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment whose search path has no compiler, and no programs of this environment."""
    (tmp_path / "bin").mkdir()
    return {**environment, "PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}


def run(command: list[str], variables: dict[str, str]) -> str:
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served(command: list[str], variables: dict[str, str], models: Path) -> Iterator[str]:
    """Run a command that ends in `serve`; yield the address when it answers."""
    host = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        command,
        env={**variables, "OLLAMA_HOST": host, "OLLAMA_MODELS": str(models)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ollama API at" in line:
                break
        else:
            raise AssertionError("".join(lines))
        yield host
    finally:
        process.terminate()
        process.communicate()


def first_token(host: str) -> str:
    """Return the first part of a streamed answer."""
    body = json.dumps({"model": "smollm2", "prompt": "The capital of France is", "raw": True})
    request = urllib.request.Request(f"http://{host}/api/generate", body.encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as response:
        return json.loads(response.readline())["response"]


def test_pip_installs_what_answers(
    wheels: Path, bare: dict[str, str], ollama_store: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    run([sys.executable, "-m", "venv", str(venv)], bare)
    pip = [str(venv / "bin" / "pip"), "install", "--find-links", str(wheels)]
    run([*pip, REQUIREMENT], bare)
    run([str(venv / "bin" / "pip"), "check"], bare)
    program = str(venv / "bin" / "jupyter-ollama")
    with served([program, "serve"], bare, ollama_store) as host:
        assert first_token(host)
    extensions = run([str(venv / "bin" / "jupyter"), "server", "extension", "list"], bare)
    assert "jupyter_ollama" in extensions or not extensions


def test_uv_installs_it_as_a_tool_and_runs_it_without(
    wheels: Path, bare: dict[str, str], ollama_store: Path, tmp_path: Path
) -> None:
    uv = find_uv(Path(sys.executable))
    if uv is None:
        pytest.skip("the package index offers no uv for this platform")
    tools = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    variables = {**bare, **tools, "UV_PYTHON": sys.executable}
    links = ["--no-config", "--find-links", str(wheels)]
    run([str(uv), "tool", "install", *links, REQUIREMENT], variables)
    program = str(tmp_path / "bin" / "jupyter-ollama")
    with served([program, "serve"], variables, ollama_store) as host:
        assert first_token(host)
    uvx = [str(uv), "tool", "run", *links, "--from", REQUIREMENT, "jupyter-ollama"]
    with served([*uvx, "serve"], variables, ollama_store) as host:
        assert first_token(host)


def test_pip_takes_over_from_a_uv_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nexit 2\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(installer, "LOG", tmp_path / "install.log")
    one = Installer(Path(sys.executable))
    assert one.name == "uv"
    one.install("--help")
    assert one.name == "pip"
    assert "pip install" in installer.LOG.read_text("utf-8")
