"""Compile llama-cpp-python: only what its bindings load, with a forecast and readable errors."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
import tarfile
import time
from pathlib import Path

from command_log import Failure, last_lines, run_logged, run_quietly, say, show_in_place
from wheel_cache import CACHE

DEFAULT_CMAKE_ARGS = "-DGGML_RPC=on"
"""Before the user's own, which may undo it: for `jupyter ollama worker`, at 2 % of the time."""

BUILD_SCRIPT = Path(__file__).with_suffix(".cmake")
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
"""GCC before 11.5, 12.4 and 13.3 compiles ggml's kernels for AMX to code that ends the process with
a general protection fault (GCC bug 114098). Without AMX, ggml takes its kernels for AVX-512."""

CPU_MINUTES = 4
"""Measured on a server of 2023, all cores together; 8 without BUILD_SCRIPT."""

NEEDED_BYTES = 1 << 30
"""The source, its objects and the wheel, while it is built."""

LOG = CACHE / "llama-cpp-python-build.log"
STEP = re.compile(r"\s*\[\s*(\d+)/(\d+)\]")  # ninja's "[12/193] g++ ..."
HINTS = {
    r"(?i)could not find cmake|cmake.* is required|no such file.*(cmake|ninja)": (
        "pip fetches CMake and ninja; where it cannot: sudo apt-get install cmake ninja-build"
    ),
    r"No CMAKE_C(XX)?_COMPILER could be found|is not able to compile|broken compiler": (
        "the compiler does not work: sudo apt-get install build-essential"
    ),
    r"(?i)killed signal|cannot allocate memory|out of memory": (
        "memory ran out: CMAKE_BUILD_PARALLEL_LEVEL=1 needs less of it and takes longer"
    ),
    r"No space left on device": (
        "the disk is full: XDG_CACHE_HOME and TMPDIR name other places for the build"
    ),
    r"No matching distribution|Could not fetch|ConnectionError": (
        "the package index could not be reached"
    ),
}


def processor_features() -> str:
    """Return the instruction sets of this processor, or another description that identifies it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(errors="replace").splitlines():
            if line.lower().startswith(("flags", "features")):
                return " ".join(sorted(line.partition(":")[2].split()))
    return f"{platform.machine()} {platform.processor()}"


def compiler_flags() -> dict[str, str]:
    """Return CFLAGS and CXXFLAGS for a processor with AMX; none for others."""
    if "amx_tile" not in processor_features().split():
        return {}
    compiler = os.environ.get("CC", "").split() or ["cc"]
    # Older compilers know neither the instructions nor the flag.
    check = [*compiler, *NO_AMX.split(), "-fsyntax-only", "-x", "c", os.devnull]
    if not shutil.which(compiler[0]) or not run_quietly(check):
        return {}
    names = ("CFLAGS", "CXXFLAGS")
    return {name: f"{os.environ.get(name, '')} {NO_AMX}".strip() for name in names}


def check_build_tools() -> None:
    """Raise Failure if a compiler or the space for a build is missing."""
    for variable, names in (("CC", ["cc", "gcc", "clang"]), ("CXX", ["c++", "g++", "clang++"])):
        names = os.environ.get(variable, "").split()[:1] or names
        if not any(shutil.which(name) for name in names):
            raise Failure(
                f"llama.cpp has to be compiled, and there is no compiler: {', '.join(names)}\n"
                "    Debian, Ubuntu:  sudo apt-get install build-essential\n"
                "    Fedora:          sudo dnf install gcc-c++ make\n"
                "    macOS:           xcode-select --install\n"
                "Or let PIP_FIND_LINKS name a folder with a finished wheel of llama-cpp-python."
            )
    CACHE.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(CACHE).free) < NEEDED_BYTES:
        raise Failure(
            f"llama.cpp has to be compiled, which takes {NEEDED_BYTES >> 20} MB in {CACHE}, "
            f"and {free >> 20} MB are free there. XDG_CACHE_HOME names another folder."
        )


def build_wheel(python: Path, release: str, cmake_args: str, folder: Path) -> Path:
    """Compile a release in ``folder``, which is empty; return the folder of the wheel."""
    cores = os.cpu_count() or 1
    say(
        "Compiling llama.cpp, once on this machine: "
        f"about {max(1, round(CPU_MINUTES / cores))} minutes with {cores} cores.\n"
        f"The full log is {LOG}"
    )
    source = fetch_source(python, release, folder)
    script = f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={shlex.quote(str(BUILD_SCRIPT))}"
    defaults = f"{DEFAULT_CMAKE_ARGS} {script}"
    if not _compile(python, source, folder, f"{defaults} {cmake_args}".strip(), CPU_MINUTES):
        if _likely_reasons():
            raise Failure(f"llama.cpp could not be compiled.\n{explain(LOG)}")
        first = LOG.replace(LOG.with_suffix(".first.log"))
        say(f"That failed: {first}")
        say("Compiling it once more, as llama-cpp-python does, which takes longer")
        plain = f"{DEFAULT_CMAKE_ARGS} {cmake_args}".strip()
        if not _compile(python, source, folder, plain, 2 * CPU_MINUTES):
            raise Failure(f"llama.cpp could not be compiled.\n{explain(LOG)}")
    return folder / "wheel"


def fetch_source(python: Path, release: str, folder: Path) -> Path:
    """Unpack the source distribution of a release below ``folder``; return where it is."""
    download = [str(python), "-m", "pip", "download", "--no-deps", "--progress-bar", "off"]
    download += ["--no-binary", "llama-cpp-python", "--dest", str(folder)]
    if run_logged([*download, f"llama-cpp-python=={release}"], LOG, lambda line: None) != 0:
        raise Failure(f"The source of llama-cpp-python cannot be had.\n{explain(LOG)}")
    (archive,) = folder.glob("llama_cpp_python-*.tar.gz")
    with tarfile.open(archive) as file:
        # Debian 12 has a Python 3.11 without filters.
        file.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    archive.unlink()
    (source,) = folder.glob("llama_cpp_python-*")
    return source


def _compile(python: Path, source: Path, folder: Path, cmake_args: str, minutes: float) -> bool:
    """Make the wheel of a source and return whether that succeeded."""
    shutil.rmtree(folder / "build", ignore_errors=True)
    command = [str(python), "-m", "pip", "wheel", "--verbose", "--no-deps"]
    # pip's own cache of wheels does not distinguish a CUDA build from one for the CPU.
    command += ["--no-cache-dir", "--wheel-dir", str(folder / "wheel"), str(source)]
    # Names that are the same at each build, unlike pip's, let ccache find what it has.
    settings = {"CMAKE_ARGS": cmake_args, "SKBUILD_BUILD_DIR": str(folder / "build")}
    ccache = {"CCACHE_SLOPPINESS": "time_macros"}
    environment = {**ccache, **os.environ, **settings, **compiler_flags()}
    progress = BuildProgress(60 * minutes / (os.cpu_count() or 1))
    return run_logged(command, LOG, progress, environment) == 0


def explain(log: Path) -> str:
    """State the end of the log, the likely reason, and the path of the log."""
    hints = [f"Hint: {hint}" for hint in _likely_reasons(log)]
    return "\n".join([last_lines(log), *hints, f"Full log: {log}"])


def _likely_reasons(log: Path = LOG) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace")
    return [hint for pattern, hint in HINTS.items() if re.search(pattern, text)]


class BuildProgress:
    """Shows the compiler's progress: one line that changes, or in a pipe a line every 10 %.

    ``expected`` is the usual duration in seconds, which counts less with every step and not at all
    after a third of them.
    """

    def __init__(self, expected: float) -> None:
        self.expected = expected
        self.started = 0.0
        self.shown = 0

    def __call__(self, line: str) -> None:
        """Take one line of pip's output."""
        match = STEP.match(line)
        if match is None:
            return
        done, total = int(match.group(1)), int(match.group(2))
        now = time.monotonic()
        self.started = self.started or now
        elapsed = now - self.started
        text = f"  {done * 100 // total:3} %  {done} of {total} steps, {clock(elapsed)} so far"
        if done < total:
            text += f", about {clock(self.forecast(done / total, elapsed))} left"
        if sys.stdout.isatty():
            show_in_place(text)
        elif done * 10 // total > self.shown:
            self.shown = done * 10 // total
            say(text)

    def forecast(self, share: float, elapsed: float) -> float:
        """Return the seconds left when a share of the steps took ``elapsed`` seconds."""
        learnt = min(1.0, 3 * share)
        return (1 - share) * ((1 - learnt) * self.expected + learnt * elapsed / share)


def clock(seconds: float) -> str:
    """Return minutes and seconds as 7:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
