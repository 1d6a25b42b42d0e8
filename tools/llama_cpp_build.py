"""Compile llama-cpp-python: only what its bindings load, with a forecast and readable errors."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from collections.abc import Mapping
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

NO_FP16 = "-mno-avx512fp16"
"""With AVX512-FP16, ggml adds the values of attention in steps of 128 numbers, and the rest of a
head one by one. Without it the steps have 64 numbers, and a token's attention takes a quarter of
the time where heads have 64, as in SmolLM2, Llama 3.2 1B and gpt-oss."""

FLAGS = {"amx_tile": NO_AMX, "avx512_fp16": NO_FP16}
"""The flags of the compiler for a processor with a feature, by its name in /proc/cpuinfo."""

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


def compiler_flags(of_features: Mapping[str, str] = FLAGS) -> dict[str, str]:
    """Return CFLAGS and CXXFLAGS without the features of this processor that ggml uses badly."""
    features = processor_features().split()
    wanted = [flags for feature, flags in of_features.items() if feature in features]
    known = " ".join(flags for flags in wanted if _compiler_takes(flags))
    names = ("CFLAGS", "CXXFLAGS")
    return {name: f"{os.environ.get(name, '')} {known}".strip() for name in names if known}


def _compiler_takes(flags: str) -> bool:
    """Return whether the compiler knows flags. Older ones know neither them nor the feature."""
    compiler = os.environ.get("CC", "").split() or ["cc"]
    check = [*compiler, *flags.split(), "-fsyntax-only", "-x", "c", os.devnull]
    return shutil.which(compiler[0]) is not None and run_quietly(check)


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
