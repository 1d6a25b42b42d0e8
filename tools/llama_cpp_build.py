"""Compile llama-cpp-python: only what its bindings load, with a forecast and readable errors."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from pathlib import Path

from jupyter_ollama.backends.build_cache import CACHE, check_space
from jupyter_ollama.backends.build_log import BuildProgress, explain, likely_reasons
from jupyter_ollama.backends.build_tools import check_compiler, fetch_source
from jupyter_ollama.backends.command_log import Failure, run_logged, run_quietly, say

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
    advice = "Or let PIP_FIND_LINKS name a folder with a finished wheel of llama-cpp-python."
    check_compiler("llama.cpp", advice)
    check_space("llama.cpp", NEEDED_BYTES)


def build_wheel(python: Path, release: str, cmake_args: str, folder: Path) -> Path:
    """Compile a release in ``folder``, which is empty; return the folder of the wheel."""
    cores = os.cpu_count() or 1
    say(
        "Compiling llama.cpp, once on this machine: "
        f"about {max(1, round(CPU_MINUTES / cores))} minutes with {cores} cores.\n"
        f"The full log is {LOG}"
    )
    source = fetch_source(python, release, folder, LOG)
    script = f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={shlex.quote(str(BUILD_SCRIPT))}"
    defaults = f"{DEFAULT_CMAKE_ARGS} {script}"
    if not _compile(python, source, folder, f"{defaults} {cmake_args}".strip(), CPU_MINUTES):
        if likely_reasons(LOG):
            raise Failure(f"llama.cpp could not be compiled.\n{explain(LOG)}")
        first = LOG.replace(LOG.with_suffix(".first.log"))
        say(f"That failed: {first}")
        say("Compiling it once more, as llama-cpp-python does, which takes longer")
        plain = f"{DEFAULT_CMAKE_ARGS} {cmake_args}".strip()
        if not _compile(python, source, folder, plain, 2 * CPU_MINUTES):
            raise Failure(f"llama.cpp could not be compiled.\n{explain(LOG)}")
    return folder / "wheel"


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
