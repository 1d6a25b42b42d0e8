"""Find or build the wheel of llama-cpp-python, and keep it so that it is built once on a machine.

llama-cpp-python is published as source. Unless CMAKE_ARGS asks for a build of one's own, finished
wheels come first: of the package index or PIP_FIND_LINKS, then of the wheel index of
llama-cpp-python's project (``wheel_index.py``). Each is checked before it is used. Wheels are kept
in the user's cache, one for each version, platform, processor and set of compiler settings.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import wheel_index
from llama_cpp_build import (
    BUILD_SCRIPT,
    DEFAULT_CMAKE_ARGS,
    NO_AMX,
    build_wheel,
    check_build_tools,
    compiler_flags,
    processor_features,
)

from jupyter_ollama.backends.build_cache import CACHE, keep, lock, new_directory
from jupyter_ollama.backends.command_log import Failure, run_quietly, say

BUILD_VARIABLES = ("CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS")


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


def build_key(requirement: Requirement) -> str:
    """Name a build by everything that its machine code depends on."""
    return _key_with(requirement, compiler_flags())


def spoilt_keys(requirement: Requirement) -> list[str]:
    """Return the names of builds that earlier versions made by default and that are worse."""
    flags, only_without_amx = compiler_flags(), compiler_flags({"amx_tile": NO_AMX})
    without_rpc = _key(requirement)
    with_amx = [_key(requirement, DEFAULT_CMAKE_ARGS)] if flags else []
    with_fp16 = [_key_with(requirement, only_without_amx)] if flags != only_without_amx else []
    return [without_rpc, *with_amx, *with_fp16]


def _key_with(requirement: Requirement, flags: dict[str, str]) -> str:
    script = BUILD_SCRIPT.read_text("utf-8")
    return _key(requirement, DEFAULT_CMAKE_ARGS, script, *flags.values())


def _key(requirement: Requirement, *settings: str) -> str:
    variables = (f"{name}={os.environ.get(name, '')}" for name in BUILD_VARIABLES)
    # llama.cpp is compiled for the processor at hand; a home directory may be shared by several.
    parts = (*settings, *variables, processor_features())
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return f"{requirement.tested}-{sysconfig.get_platform()}-{digest}"


CHECK = Path(__file__).with_name("llama_cpp_check.py")
PATIENCE = 120.0
"""Seconds for loading a wheel; a driver of a GPU may compile its kernels the first time."""


def foresee(python: Path, requirement: Requirement) -> None:
    """Raise Failure if llama.cpp has to be compiled and cannot be: before anything long starts."""
    with lock(CACHE / "build.lock"):
        try:
            if not kept_wheel(build_key(requirement)):
                check_build_tools()
        except Failure:
            if not any(True for _ in offered_wheels(python, requirement)):
                raise


def fetch_wheel(python: Path, requirement: Requirement) -> Path:
    """Return a wheel: the one kept before, a finished one that passes the check, or a new build.

    ``python`` has what llama-cpp-python depends on. Raises Failure.
    """
    key = build_key(requirement)
    with lock(CACHE / "build.lock"):
        if wheel := kept_wheel(key):
            say(f"Taking llama-cpp-python from {wheel.parent}")
            return wheel
        for wheel in offered_wheels(python, requirement):
            if is_usable(python, wheel):
                return keep(wheel.parent, key)
        return compiled_wheel(python, requirement, key)


def kept_wheel(key: str) -> Path | None:
    """Return the wheel that an earlier run kept, if this Python can use it."""
    for tag in ("py3", f"cp{sys.version_info.major}{sys.version_info.minor}"):
        wheels = sorted((CACHE / "wheels" / key).glob(f"llama_cpp_python-*-{tag}-*.whl"))
        if wheels:
            return wheels[-1]
    return None


def offered_wheels(python: Path, requirement: Requirement) -> Iterator[Path]:
    """Yield finished wheels, each downloaded into a directory that the next one replaces."""
    if requirement.cmake_args:
        return
    say("Looking for a finished wheel of llama-cpp-python")
    with new_directory() as directory:
        if wheel := downloaded(python, requirement, directory):
            say(f"Found {wheel.name} in the package index or PIP_FIND_LINKS")
            yield wheel
    for address in wheel_index.addresses(requirement.tested):
        with new_directory() as directory:
            if wheel := downloaded(python, requirement, directory, "--index-url", address):
                say(f"Found {wheel.name} at {address}")
                yield wheel


def downloaded(
    python: Path, requirement: Requirement, directory: Path, *options: str
) -> Path | None:
    """Download a wheel, not a source, with pip; return None if there is none."""
    command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", *options]
    command += ["--only-binary", "llama-cpp-python", "--dest", str(directory), requirement.range]
    return next(directory.glob("*.whl"), None) if run_quietly(command) else None


def is_usable(python: Path, wheel: Path) -> bool:
    """Load a wheel in a process of its own; say why it is refused, or what it lacks."""
    faults, backends = inspect(python, wheel)
    if faults:
        say(f"It is not used: {'; '.join(faults)}")
    elif "RPC" not in backends:
        say("It is built without RPC: `jupyter ollama worker` will not run")
    return not faults


def inspect(python: Path, wheel: Path) -> tuple[list[str], list[str]]:
    """Return how a wheel differs from the tested llama-cpp-python, and its backends."""
    command = [str(python), str(CHECK), str(wheel)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"it does not load within {PATIENCE:.0f} seconds"], []
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return [lines[-1] if lines else f"it ends with status {done.returncode}"], []
    report = json.loads(done.stdout.splitlines()[-1])
    return report["faults"], report["backends"]


def compiled_wheel(python: Path, requirement: Requirement, key: str) -> Path:
    """Compile the tested version and keep the wheel."""
    check_build_tools()
    with new_directory() as directory:
        built = build_wheel(python, requirement.tested, requirement.cmake_args, directory)
        # A build for a GPU may be made where there is none, so this only says what is odd.
        for fault in inspect(python, next(built.glob("*.whl")))[0]:
            say(f"Note: {fault}")
        return keep(built, key)
