"""Checks of Python, of the installed packages and of the compiler."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from .finding import Finding, error, note, ok

DISTRIBUTIONS = ("jupyter-ollama", "jupyter-ollama-magics")
SHOWN = ("jupyter-server", "jupyterlab", "notebook", "ipykernel", "ipywidgets", "pandas")
"""Packages of which the version is worth a line in a report of a fault."""

COMPILERS = ("c++", "g++", "clang++", "cl")
INSTALL_COMPILER = (
    "Debian, Ubuntu:  sudo apt-get install build-essential\n"
    "Fedora:          sudo dnf install gcc-c++ make\n"
    "macOS:           xcode-select --install"
)


def findings() -> Iterator[Finding]:
    """Yield the findings about software."""
    yield ok("Python", f"{platform.python_version()} at {sys.executable}")
    yield own_packages()
    yield from unmet_requirements()
    yield ok("Packages", ", ".join(filter(None, map(name_and_version, SHOWN))))


def own_packages() -> Finding:
    """Compare the versions of the two distributions of this project."""
    found = {name: installed(name) for name in DISTRIBUTIONS}
    text = ", ".join(f"{name} {number or 'is missing'}" for name, number in found.items())
    if len({*found.values()}) == 1:
        return ok("jupyter-ollama", text)
    advice = f"Install one version of both: {pip()} install --upgrade {' '.join(DISTRIBUTIONS)}"
    return error("jupyter-ollama", text, advice)


def unmet_requirements() -> Iterator[Finding]:
    """Yield an error for each requirement that the environment does not meet."""
    for name in DISTRIBUTIONS:
        for text in requires(name) or [] if installed(name) else []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            if requirement.name == "llama-cpp-python" and not installed(requirement.name):
                continue  # the check of llama.cpp says more
            found = installed(requirement.name)
            if found is None or not requirement.specifier.contains(found, prereleases=True):
                wanted = f"{requirement.name}{requirement.specifier}"
                text = f"{name} needs {wanted}, {found or 'nothing'} is installed"
                yield error("Requirement", text, f'{pip()} install "{wanted}"')


def compiler() -> Finding:
    """Look for a C++ compiler, which builds llama.cpp."""
    for name in COMPILERS:
        if path := shutil.which(name):
            return ok("Compiler", path)
    return note(
        "Compiler",
        "no C++ compiler is installed; llama.cpp cannot be compiled here",
        "Only needed for another build of llama.cpp, for instance for a GPU:\n" + INSTALL_COMPILER,
    )


def installed(name: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def name_and_version(name: str) -> str:
    """Return a distribution and its version, "" if it is not installed."""
    number = installed(name)
    return f"{name} {number}" if number else ""


def pip() -> str:
    """Return the command that installs into the environment of this process."""
    return f"{sys.executable} -m pip"
