"""Builds a backend of ggml against the llama-cpp-python of this environment.

A build is kept in the user's cache for each release of llama-cpp-python and set of compiler
settings, and copied from there into the environments that ask for it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from .build_cache import CACHE, check_space, lock, new_directory
from .build_log import BuildProgress, clock, explain
from .build_tools import Toolchain, check_compiler, fetch_source, find_cmake
from .command_log import Failure, run_logged, say
from .cuda_tools import choose_architectures, prepare_cuda
from .vulkan_tools import prepare_vulkan

PROJECT = Path(__file__).with_name("CMakeLists.txt")
LOG = CACHE / "backend-build.log"
BUILD_VARIABLES = (
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "LDFLAGS",
    "CUDACXX",
    "CUDAHOSTCXX",
    "CUDA_HOME",
    "CUDA_PATH",
)


@dataclass(frozen=True)
class Recipe:
    """How a backend is built.

    ``prepare(log, environment, options)`` checks or fetches the tools and raises Failure.
    ``variant(environment, options)`` names what differs between hosts. ``minutes`` of
    processor time and ``needed`` bytes on the disk were measured.
    """

    prepare: Callable[[Path, dict[str, str], Sequence[str]], Toolchain]
    minutes: float
    needed: int
    variant: Callable[[dict[str, str], Sequence[str]], str] = lambda environment, options: ""


RECIPES = {
    # For one architecture, with the toolkit of the package index.
    "cuda": Recipe(prepare_cuda, minutes=50, needed=2 << 30, variant=choose_architectures),
    "vulkan": Recipe(prepare_vulkan, minutes=6, needed=1 << 30),
}


def install_backend(name: str, folder: Path, options: list[str]) -> Path:
    """Install a backend into ``folder``: from the cache, or built; return its file.

    ``options`` are further arguments for CMake. Raises Failure.
    """
    release, library = installed_ggml()
    recipe = RECIPES[name]
    variant = recipe.variant(dict(os.environ), options)
    kept = CACHE / "backends" / _key(name, release, variant, options)
    with lock(CACHE / "build.lock"):
        if any(kept.glob("*ggml-*")):
            say(f"Taking the backend from {kept}")
        else:
            check_compiler(f"The {name} backend")
            check_space(f"The {name} backend", recipe.needed)
            with new_directory() as work:
                built = _build(name, recipe, release, library, options, work)
                kept.parent.mkdir(parents=True, exist_ok=True)
                built.replace(kept)
    folder.mkdir(parents=True, exist_ok=True)
    for source in kept.iterdir():
        # A process that has loaded the former file keeps it.
        new = folder / f".{source.name}.new"
        new.unlink(missing_ok=True)
        _place(source, new)
        new.replace(folder / source.name)
        new.unlink(missing_ok=True)  # which stays if both were names of one file
    return folder / next(kept.glob("*ggml-*")).name


def installed_ggml() -> tuple[str, Path]:
    """Return the release of llama-cpp-python and its base library of ggml. Raises Failure."""
    try:
        package = distribution("llama-cpp-python")
    except PackageNotFoundError:
        raise Failure("llama-cpp-python is not installed in this environment.") from None
    folder = Path(str(package.locate_file("llama_cpp/lib")))
    for name in ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll"):
        if (folder / name).exists():
            return package.version, folder / name
    raise Failure(f"This llama-cpp-python has no shared library of ggml in {folder}.")


def _place(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it to another file system: cuBLAS has 595 MB."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _key(name: str, release: str, variant: str, options: list[str]) -> str:
    """Name a build by everything that its machine code depends on."""
    variables = (f"{variable}={os.environ.get(variable, '')}" for variable in BUILD_VARIABLES)
    parts = (PROJECT.read_text("utf-8"), variant, *variables, *options)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return f"{name}-{release}-{digest}"


def _build(
    name: str, recipe: Recipe, release: str, library: Path, options: list[str], work: Path
) -> Path:
    """Compile a backend below ``work``; return the folder with it and its libraries."""
    python = Path(sys.executable)
    environment = find_cmake(python, LOG)
    toolchain = recipe.prepare(LOG, environment, options)
    seconds = 60 * recipe.minutes / (os.cpu_count() or 1)
    say(f"Compiling ggml's {name} backend, once on this machine: about {clock(seconds)} minutes.")
    say(f"The full log is {LOG}")
    ggml = fetch_source(python, release, work, LOG) / "vendor" / "llama.cpp" / "ggml"
    build = work / "build"
    configure = ["cmake", "-G", "Ninja", "-S", str(PROJECT.parent), "-B", str(build)]
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        "GGML_SOURCE": str(ggml),
        "GGML_LIBRARY": str(library),
        "BACKEND": name,
        "BUILT_FOR": f"ggml {ggml_version(ggml)}, llama-cpp-python {release}",
    }
    configure += [f"-D{key}={value}" for key, value in settings.items()]
    environment |= toolchain.environment
    for command in (
        [*configure, *toolchain.arguments, *options],
        ["cmake", "--build", str(build)],
    ):
        if run_logged(command, LOG, BuildProgress(seconds), environment) != 0:
            raise Failure(f"The {name} backend could not be built.\n{explain(LOG)}")
    for extra in toolchain.libraries:
        _place(extra, build / "backend" / extra.name)
    return build / "backend"


def ggml_version(source: Path) -> str:
    """Return the version that a source of ggml states. Raises Failure."""
    numbers = {}
    for line in (source / "CMakeLists.txt").read_text("utf-8").splitlines():
        for part in ("MAJOR", "MINOR", "PATCH"):
            if line.startswith(f"set(GGML_VERSION_{part} "):
                numbers[part] = line.split()[1].rstrip(")")
    if len(numbers) < 3:
        raise Failure(f"{source} does not state the version of ggml as llama.cpp did before.")
    return "{MAJOR}.{MINOR}.{PATCH}".format(**numbers)
