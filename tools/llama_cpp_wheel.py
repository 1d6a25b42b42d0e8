"""Find or build the wheel of llama-cpp-python, and keep it so that it is built once on a machine.

llama-cpp-python is published as source only. A wheel that the package index or PIP_FIND_LINKS
offers is taken instead of compiling, unless CMAKE_ARGS asks for a build of one's own. Wheels are
kept in the user's cache, one for each version, platform, processor and set of compiler settings.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from command_log import Failure, last_lines, run_logged, run_quietly, say, show_in_place

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jupyter-ollama"
BUILD_VARIABLES = ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS")
DEFAULT_CMAKE_ARGS = "-DGGML_RPC=on"
"""Before the user's own, which may undo it: for `jupyter ollama worker`, at 2 % of the time."""

NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
"""GCC before 11.5, 12.4 and 13.3 compiles ggml's kernels for AMX to code that ends the process with
a general protection fault (GCC bug 114098). Without AMX, ggml takes its kernels for AVX-512."""

CPU_MINUTES = 14  # measured on a server of 2023, all cores together
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
    r"No space left on device": "the disk is full: TMPDIR names another place for the build",
    r"No matching distribution|Could not fetch|ConnectionError": (
        "the package index could not be reached"
    ),
}


@dataclass(frozen=True)
class Requirement:
    """The requirement (``range``), the version it pins (``tested``), and the user's CMAKE_ARGS."""

    range: str
    tested: str
    cmake_args: str


def read_requirement(pyproject: Path) -> Requirement:
    """Read the requirement, which pins the version that the project is tested with."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    stated = next(item for item in project["dependencies"] if item.startswith("llama-cpp-python"))
    pinned = re.search(r"==\s*([0-9][^,;\s]*)", stated)
    if pinned is None:
        raise Failure(f"{pyproject} pins no version: {stated}")
    return Requirement(stated, pinned.group(1), os.environ.get("CMAKE_ARGS", "").strip())


def build_key(requirement: Requirement, defaults: str = DEFAULT_CMAKE_ARGS) -> str:
    """Name a build by everything that its machine code depends on."""
    settings = [defaults] * bool(defaults)
    settings += [f"{name}={os.environ.get(name, '')}" for name in BUILD_VARIABLES]
    # llama.cpp is compiled for the processor at hand; a home directory may be shared by several.
    settings.append(processor_features())
    settings += compiler_flags().values()
    digest = hashlib.sha256("\n".join(settings).encode()).hexdigest()[:12]
    return f"{requirement.tested}-{sysconfig.get_platform()}-{digest}"


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


def fetch_wheel(python: Path, requirement: Requirement) -> Path:
    """Return a wheel: the one kept before, one that is offered, or else a new build."""
    key = build_key(requirement)
    with lock(CACHE / "build.lock"):
        wheel = kept_wheel(key) or offered_wheel(python, requirement, key)
        return wheel or compiled_wheel(python, requirement, key)


def kept_wheel(key: str) -> Path | None:
    """Return the wheel that an earlier run kept, if this Python can use it."""
    for tag in ("py3", f"cp{sys.version_info.major}{sys.version_info.minor}"):
        wheels = sorted((CACHE / "wheels" / key).glob(f"llama_cpp_python-*-{tag}-*.whl"))
        if wheels:
            say(f"Taking llama-cpp-python from {wheels[-1].parent}")
            return wheels[-1]
    return None


def offered_wheel(python: Path, requirement: Requirement, key: str) -> Path | None:
    """Return a finished wheel from the index or PIP_FIND_LINKS, if there is one."""
    if requirement.cmake_args:
        return None
    say("Looking for a finished wheel of llama-cpp-python")
    with new_directory() as directory:
        command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps"]
        command += [
            "--only-binary",
            "llama-cpp-python",
            "--dest",
            str(directory),
            requirement.range,
        ]
        return keep(directory, key) if run_quietly(command) else None


def compiled_wheel(python: Path, requirement: Requirement, key: str) -> Path:
    """Compile the tested version and keep the wheel."""
    check_compilers()
    cores = os.cpu_count() or 1
    log = CACHE / "llama-cpp-python-build.log"
    say(
        "Compiling llama.cpp, once on this machine: "
        f"about {max(1, round(CPU_MINUTES / cores))} minutes with {cores} cores.\n"
        f"The full log is {log}"
    )
    with new_directory() as directory:
        command = [str(python), "-m", "pip", "wheel", "--verbose", "--no-deps"]
        # pip's own cache of wheels does not distinguish a CUDA build from one for the CPU.
        command += ["--no-cache-dir", "--no-binary", "llama-cpp-python", "--wheel-dir"]
        command += [str(directory), f"llama-cpp-python=={requirement.tested}"]
        settings = {"CMAKE_ARGS": f"{DEFAULT_CMAKE_ARGS} {requirement.cmake_args}".strip()}
        settings |= compiler_flags()
        if run_logged(command, log, BuildProgress(), {**os.environ, **settings}) != 0:
            raise Failure(f"llama.cpp could not be compiled.\n{explain(log)}")
        return keep(directory, key)


def check_compilers() -> None:
    """Raise Failure if there is no C or no C++ compiler."""
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


def explain(log: Path) -> str:
    """State the end of the log, the likely reason, and the path of the log."""
    text = log.read_text(encoding="utf-8", errors="replace")
    hints = [f"Hint: {hint}" for pattern, hint in HINTS.items() if re.search(pattern, text)]
    return "\n".join([last_lines(log), *hints, f"Full log: {log}"])


class BuildProgress:
    """Shows the compiler's progress: one line that changes, or in a pipe a line every 10 %."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.shown = 0

    def __call__(self, line: str) -> None:
        """Take one line of pip's output."""
        match = STEP.match(line)
        if match is None:
            return
        done, total = int(match.group(1)), int(match.group(2))
        elapsed = time.monotonic() - self.started
        text = f"  {done * 100 // total:3} %  {done} of {total} steps, {clock(elapsed)} so far"
        if total // 20 < done < total:
            text += f", about {clock(elapsed / done * (total - done))} left"
        if sys.stdout.isatty():
            show_in_place(text)
        elif done * 10 // total > self.shown:
            self.shown = done * 10 // total
            say(text)


def clock(seconds: float) -> str:
    """Return minutes and seconds as 7:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def keep(directory: Path, key: str) -> Path:
    """Move the wheel in ``directory`` into the cache under ``key``, whole or not at all."""
    source = next(directory.glob("*.whl"))
    target = CACHE / "wheels" / key / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    return target


@contextmanager
def new_directory() -> Iterator[Path]:
    """Yield an empty directory beside the kept wheels, so that a rename out of it is atomic."""
    directory = CACHE / "new"
    # Existing files were left by a killed run: only the holder of the lock gets here.
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold ``path`` while no other process of this user does; wait for it, and print a notice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another run that makes llama-cpp-python ready")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
