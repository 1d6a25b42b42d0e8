"""Create the virtual environment that `make` works in, or add to it what a target needs.

python tools/install_environment.py demo          # the product and JupyterLab
python tools/install_environment.py test lint     # what tests and checks need as well
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python gets a message, not a traceback
    sys.exit(
        f"Error: Python 3.11 or newer is needed, this is {platform.python_version()}. "
        "Name another one: make PYTHON=python3.12 demo"
    )

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(1, str(ROOT))  # jupyter_ollama.backends needs no installed packages

from installer import Installer  # noqa: E402
from llama_cpp_wheel import (  # noqa: E402
    build_key,
    fetch_wheel,
    foresee,
    read_requirement,
    spoilt_keys,
)

from jupyter_ollama.backends.command_log import Failure, run_quietly, say  # noqa: E402
from requirements import ENVIRONMENTS  # noqa: E402

NEEDED_BYTES = {"demo": 700 << 20, "test": 1200 << 20, "lint": 800 << 20, "docs": 300 << 20}
"""What each environment takes on the disk, with what is fetched for it."""


def main() -> int:
    """Install, or report what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=ENVIRONMENTS, default=["demo"])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="default: .venv")
    arguments = parser.parse_args()
    try:
        install(arguments.venv.absolute(), arguments.names)
    except Failure as failure:
        sys.stderr.write(f"Error: {failure}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. The same command goes on from here.\n")
        return 130
    return 0


def install(venv: Path, names: Sequence[str]) -> None:
    """Make ``venv`` if needed, and install what the named environments have into it."""
    started = time.monotonic()
    if not is_installed(venv, names):
        check_disk(venv, sum(NEEDED_BYTES[name] for name in names))
    python = create_venv(venv)
    requirement = read_requirement(ROOT / "pyproject.toml")
    if not has_llama_cpp(venv, python):
        foresee(python, requirement)
    installer = Installer(python)
    say(f"Installing the packages of {', '.join(names)} with {installer.name}")
    installer.locked(["demo", *(name for name in names if name != "demo")])
    install_llama_cpp(venv, python)
    # They depend on each other and on what is installed already.
    installer.install("--no-deps", "-e", str(ROOT / "magics"), "-e", str(ROOT))
    for name in names:
        stamp(venv, name).touch()
    say(f"The environment is ready after {time.monotonic() - started:.0f} s: {venv}")


def stamp(venv: Path, name: str) -> Path:
    """Return the file that exists while an environment is installed; the Makefile knows it."""
    return venv / f"jupyter-ollama-{name}"


def is_installed(venv: Path, names: Sequence[str]) -> bool:
    """Return whether some version of all named environments is installed."""
    return all(stamp(venv, name).exists() for name in names)


def check_disk(venv: Path, needed: int) -> None:
    """Raise Failure if the file system of ``venv`` has not so many bytes."""
    free = shutil.disk_usage(venv.parent).free
    if free < needed:
        raise Failure(
            f"{needed >> 20} MB are needed in {venv.parent}, and {free >> 20} MB are free. "
            "make VENV=FOLDER puts the environment elsewhere."
        )


def create_venv(venv: Path) -> Path:
    """Return the interpreter of ``venv``, which has pip afterwards."""
    python = venv / "bin" / "python"
    if python.exists() and run_quietly([str(python), "-m", "pip", "--version"]):
        return python
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Failure(
            f"{sys.executable} cannot make virtual environments. On Debian and Ubuntu:\n"
            f"    sudo apt-get install python3-venv        (or python{version}-venv)"
        )
    say(f"Creating {venv} with Python {platform.python_version()}")
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    return python


def has_llama_cpp(venv: Path, python: Path) -> bool:
    """Return whether the requested build of llama-cpp-python is installed in ``venv``."""
    requirement = read_requirement(ROOT / "pyproject.toml")
    marker = venv / "llama-cpp-build"
    installed = marker.read_text().strip() if marker.exists() else ""
    fits = run_quietly([str(python), "-c", SATISFIED, requirement.range])
    if requirement.cmake_args:
        return fits and installed == build_key(requirement)
    # Without a request, any build is accepted except what earlier versions made by default.
    return fits and installed not in spoilt_keys(requirement)


def install_llama_cpp(venv: Path, python: Path) -> None:
    """Install llama-cpp-python into ``venv`` unless the requested build is installed."""
    if has_llama_cpp(venv, python):
        return
    requirement = read_requirement(ROOT / "pyproject.toml")
    wheel = fetch_wheel(python, requirement)
    say(f"Installing {wheel.name}")
    # pip: a wheel of the same version as the one that uv has in its cache may be another build.
    command = [str(python), "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps"]
    if not run_quietly([*command, str(wheel)]):
        raise Failure(f"{wheel} cannot be installed. Remove it, then run the same command again.")
    (venv / "llama-cpp-build").write_text(build_key(requirement) + "\n")


SATISFIED = """
import sys
from importlib.metadata import PackageNotFoundError, version
from pip._vendor.packaging.requirements import Requirement
requirement = Requirement(sys.argv[1])
try:
    sys.exit(0 if requirement.specifier.contains(version(requirement.name)) else 1)
except PackageNotFoundError:
    sys.exit(1)
"""


if __name__ == "__main__":
    sys.exit(main())
