"""Test the distributions with the oldest and the newest packages that they accept: `make bounds`.

    python tools/bounds.py                       # both ends
    python tools/bounds.py lowest-direct -k usage

The requirements of both distributions, with the extras that change what they import, are resolved
to one end; the tools of the tests have the versions of requirements/test.txt. uv is needed.
"""

from __future__ import annotations

import subprocess
import sys

from install_environment import create_venv, install_llama_cpp
from installer import Installer

from jupyter_ollama.backends.command_log import Failure, say
from requirements import ROOT, requirements

ENDS = ("lowest-direct", "highest")
EXTRAS = ("lab", "arrow", "convert", "dask", "registry", "web")
TOOLS = (
    *("canitoolcall", "hypothesis", "psutil", "pydantic"),
    *("pytest", "pytest-jupyter", "pytest-timeout", "pytest-tornasync"),
)
TESTS = (
    *("tests/library", "tests/usage", "tests/schema", "tests/prompt", "tests/parsing"),
    "tests/cli/test_cli_serve.py",
)


def main() -> int:
    """Test one end or both."""
    ends = [argument for argument in sys.argv[1:] if argument in ENDS] or ENDS
    options = [argument for argument in sys.argv[1:] if argument not in ENDS]
    try:
        return max(check(end, options) for end in ends)
    except Failure as failure:
        sys.stderr.write(f"Error: {failure}\n")
        return 1


def check(end: str, options: list[str]) -> int:
    """Install one end into an environment of its own and run the tests; return their status."""
    venv = ROOT / "build" / "bounds" / end
    venv.parent.mkdir(parents=True, exist_ok=True)
    python = create_venv(venv)
    installer = Installer(python)
    if installer.name != "uv":
        raise Failure("uv is needed, and it cannot be used here")
    say(f"Installing {end}")
    wanted = [*requirements(EXTRAS, without=["llama-cpp-python"]), *locked_tools()]
    source = venv / "wanted.in"
    source.write_text("\n".join(wanted))
    installer.install("--resolution", end, "-r", str(source))
    # The bindings' own requirement, which theirs are not resolved with: their source is large.
    installer.install("--resolution", end, "diskcache", "typing-extensions")
    install_llama_cpp(venv, python)
    installer.install("--no-deps", "-e", str(ROOT / "magics"), "-e", str(ROOT))
    # Old packages warn of each other.
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-W", "default"]
    return subprocess.run([*command, *(options or TESTS)], cwd=ROOT, check=False).returncode


def locked_tools() -> list[str]:
    """Return the tools of the tests with the versions that requirements/ locks."""
    text = "".join(path.read_text("utf-8") for path in (ROOT / "requirements").glob("*.txt"))
    lines = {line.removesuffix(" \\") for line in text.splitlines() if "==" in line}
    return sorted(line for line in lines if line.split("==")[0] in TOOLS)


if __name__ == "__main__":
    sys.exit(main())
