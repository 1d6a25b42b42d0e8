"""The check of a finished wheel, and the order in which wheels are looked for.

The wheels here are made of the llama_cpp that is installed, and changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from installed_wheel import NAME, PACKAGE, make_wheel

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from llama_cpp_wheel import inspect, read_requirement  # noqa: E402

TESTED = read_requirement(ROOT / "pyproject.toml").tested
LIBRARIES = [path.name for path in (PACKAGE / "lib").iterdir()]
FETCH = """
import sys
from pathlib import Path
sys.path.insert(0, "tools")
from jupyter_ollama.backends.command_log import Failure
from llama_cpp_wheel import fetch_wheel, read_requirement
try:
    print("wheel:", fetch_wheel(Path(sys.executable), read_requirement(Path("pyproject.toml"))))
except Failure as failure:
    sys.exit(f"Error: {failure}")
"""


def changed(name: str, old: str, new: str) -> dict[str, bytes]:
    text = (PACKAGE / name).read_text("utf-8")
    assert old in text
    return {f"llama_cpp/{name}": text.replace(old, new).encode()}


def test_the_installed_build_passes(tmp_path: Path) -> None:
    faults, backends = inspect(Path(sys.executable), make_wheel(tmp_path))
    assert faults == []
    assert "CPU" in backends


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            changed("__init__.py", f'__version__ = "{TESTED}"', '__version__ = "0.3.1"'),
            "the version is 0.3.1",
        ),
        (
            changed("llama_cpp.py", "def llama_decode(", "def llama_other("),
            "llama_cpp.llama_cpp.llama_decode is missing",
        ),
        (
            changed(
                "llama_cpp.py", '("n_gpu_layers",', '("other", ctypes.c_int64), ("n_gpu_layers",'
            ),
            "struct llama_model_params has 88 bytes instead of 80",
        ),
        ({f"llama_cpp/lib/{name}": b"damaged" for name in LIBRARIES}, "damaged"),
    ],
    ids=["old", "without a function", "other struct", "damaged"],
)
def test_another_build_is_refused(changes: dict[str, bytes], fault: str, tmp_path: Path) -> None:
    faults, _ = inspect(Path(sys.executable), make_wheel(tmp_path, changes))
    if fault == "damaged":
        assert "invalid ELF header" in faults[0] or "lib" in faults[0]
    else:
        assert fault in faults


def fetch(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("HOME",) if name in os.environ}
    # Without a compiler: a wheel that is found is the only way.
    variables = {
        **kept,
        "PATH": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", FETCH],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder; yield its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_refused_wheel_gives_way_to_the_wheel_of_the_projects_index(tmp_path: Path) -> None:
    old = changed("__init__.py", f'__version__ = "{TESTED}"', '__version__ = "0.3.1"')
    make_wheel(tmp_path / "links", old)
    make_wheel(tmp_path / "index" / "llama-cpp-python")
    (tmp_path / "empty").mkdir()
    with served(tmp_path / "index") as index, served(tmp_path / "empty") as empty:
        done = fetch(
            tmp_path,
            PIP_FIND_LINKS=str(tmp_path / "links"),
            PIP_INDEX_URL=empty,
            JUPYTER_OLLAMA_WHEELS=index,
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"Found {NAME} in the package index or PIP_FIND_LINKS" in lines
    assert "It is not used: the version is 0.3.1" in lines
    assert f"Found {NAME} at {index}" in lines
    assert Path(lines[-1].removeprefix("wheel: ")).is_relative_to(tmp_path / "cache")


def test_an_index_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with served(tmp_path) as index:
        pass
    done = fetch(tmp_path, PIP_INDEX_URL=index, PIP_RETRIES="0", JUPYTER_OLLAMA_WHEELS=index)
    assert done.returncode == 1
    assert "It does not answer: [Errno" in done.stdout
    assert "there is no compiler: cc, gcc, clang" in done.stderr


def test_the_projects_index_can_be_left_out(tmp_path: Path) -> None:
    make_wheel(tmp_path / "index" / "llama-cpp-python")
    (tmp_path / "empty").mkdir()
    with served(tmp_path / "empty") as empty:
        done = fetch(tmp_path, PIP_INDEX_URL=empty, JUPYTER_OLLAMA_WHEELS="off")
    assert done.returncode == 1
    assert "Asking" not in done.stdout
