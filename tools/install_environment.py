"""Create the virtual environment that `make` works in, with everything installed in it."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python gets a message, not a traceback
    sys.exit(
        f"Error: Python 3.11 or newer is needed, this is {platform.python_version()}. "
        "Name another one: make PYTHON=python3.12 demo"
    )

from command_log import Failure, last_lines, run_logged, run_quietly, say, show_in_place
from llama_cpp_wheel import CACHE, build_key, fetch_wheel, read_requirement

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Install, or report what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="default: .venv")
    arguments = parser.parse_args()
    try:
        install(arguments.venv.absolute())
    except Failure as failure:
        sys.stderr.write(f"Error: {failure}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. The same command goes on from here.\n")
        return 130
    return 0


def install(venv: Path) -> None:
    """Make ``venv`` if needed, then put llama-cpp-python and both distributions into it."""
    python = create_venv(venv)
    install_llama_cpp(venv, python)
    say("Installing jupyter-ollama, jupyter-ollama-magics and the tools of this project")
    # One call: jupyter-ollama depends on jupyter-ollama-magics, which only this folder has.
    pip_install(python, "-e", str(ROOT / "magics"), "-e", f"{ROOT}[test,lint,lab]")
    say(f"The environment is ready: {venv}")


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


def install_llama_cpp(venv: Path, python: Path) -> None:
    """Install llama-cpp-python into ``venv`` unless the requested build is installed."""
    requirement = read_requirement(ROOT / "pyproject.toml")
    marker = venv / "llama-cpp-build"
    installed = marker.read_text().strip() if marker.exists() else ""
    key = build_key(requirement)
    fits = run_quietly([str(python), "-c", SATISFIED, requirement.range])
    # Without a request, any build is accepted except the earlier default.
    is_left = not requirement.cmake_args and installed != build_key(requirement, defaults="")
    if fits and (key == installed or is_left):
        return
    wheel = fetch_wheel(python, requirement)
    say(f"Installing {wheel.name}")
    pip_install(python, "--force-reinstall", "--no-deps", str(wheel))
    marker.write_text(key + "\n")


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


def pip_install(python: Path, *arguments: str) -> None:
    """Run ``pip install`` with a log and, on a terminal, one line of progress."""
    log = CACHE / "pip-install.log"
    command = [str(python), "-m", "pip", "install", "--progress-bar", "off", *arguments]
    if run_logged(command, log, show_package) != 0:
        raise Failure(f"pip could not install everything.\n{last_lines(log)}\nFull log: {log}")


def show_package(line: str) -> None:
    """Show which package pip is processing."""
    verb, _, rest = line.strip().partition(" ")
    if sys.stdout.isatty() and verb in ("Collecting", "Downloading", "Building", "Installing"):
        show_in_place(f"  {verb} {rest}")


if __name__ == "__main__":
    sys.exit(main())
