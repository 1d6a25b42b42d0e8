"""What a build of llama.cpp needs: a compiler, CMake, ninja, and the source."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .build_cache import CACHE
from .build_log import explain
from .command_log import Failure, run_logged

PACKAGES = ("cmake", "ninja")
"""Programs that are packages of the same names as well."""


@dataclass(frozen=True)
class Toolchain:
    """What CMake gets for a backend: arguments, and variables beside the process's own.

    ``libraries`` are files that are installed beside the backend.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[Path, ...] = ()


def check_compiler(what: str, advice: str = "") -> None:
    """Raise Failure if there is no compiler; ``advice`` is another way to get ``what``."""
    for variable, names in (("CC", ["cc", "gcc", "clang"]), ("CXX", ["c++", "g++", "clang++"])):
        names = os.environ.get(variable, "").split()[:1] or names
        if not any(shutil.which(name) for name in names):
            raise Failure(
                f"{what} has to be compiled, and there is no compiler: {', '.join(names)}\n"
                "    Debian, Ubuntu:  sudo apt-get install build-essential\n"
                "    Fedora:          sudo dnf install gcc-c++ make\n"
                f"    macOS:           xcode-select --install\n{advice}".rstrip()
            )


def find_cmake(python: Path, log: Path) -> dict[str, str]:
    """Return the variables that make CMake and ninja available, which are fetched where missing.

    Raises Failure.
    """
    if all(shutil.which(name) for name in PACKAGES):
        return dict(os.environ)
    folder = CACHE / "tools" / "cmake"
    if not (folder / "bin" / "ninja").exists():
        command = [str(python), "-m", "pip", "install", "--progress-bar", "off", "--upgrade"]
        if run_logged([*command, "--target", str(folder), *PACKAGES], log, lambda line: None) != 0:
            raise Failure(f"CMake and ninja cannot be had.\n{explain(log)}")
    path = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}


def fetch_source(python: Path, release: str, folder: Path, log: Path) -> Path:
    """Unpack the source distribution of llama-cpp-python below ``folder``; return where it is.

    Raises Failure.
    """
    download = [str(python), "-m", "pip", "download", "--no-deps", "--progress-bar", "off"]
    download += ["--no-binary", "llama-cpp-python", "--dest", str(folder)]
    if run_logged([*download, f"llama-cpp-python=={release}"], log, lambda line: None) != 0:
        raise Failure(f"The source of llama-cpp-python cannot be had.\n{explain(log)}")
    (archive,) = folder.glob("llama_cpp_python-*.tar.gz")
    with tarfile.open(archive) as file:
        if hasattr(tarfile, "data_filter"):
            file.extractall(folder, filter="data")
        else:  # in Debian 12's Python 3.11
            file.extractall(folder)
    archive.unlink()
    (source,) = folder.glob("llama_cpp_python-*")
    return source
