"""Choose the versions of the development environments: `make lock`.

    python tools/lock.py                  # keep what is locked, add what is missing
    python tools/lock.py --upgrade        # the newest versions

One resolution for all environments, Pythons and platforms is written to requirements/: demo.txt,
and for each other environment what it has beyond that. The files have the hashes of the packages
and no address of an index: uv and pip install them from whichever index is set. (uv.lock would name
the host of each file.) llama-cpp-python is not in them: its wheel is built or found on the machine
(llama_cpp_wheel.py).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from installer import find_uv

from jupyter_ollama.backends.command_log import Failure, say
from requirements import ENVIRONMENTS, ROOT, requirements

LOCKED = ROOT / "requirements"
HEAD = """\
# The versions of a development environment, chosen by `make lock`.
# What the distributions themselves accept is in the pyproject.toml files.

"""
OPTIONS = ("--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "--quiet")
UNLOCKED = ("--no-emit-package", "llama-cpp-python")


def main() -> int:
    """Resolve all environments together, then each within that resolution."""
    try:
        uv = find_uv(Path(sys.executable))
        if uv is None:
            raise Failure("uv is needed, and the package index offers none")
        with tempfile.TemporaryDirectory() as folder:
            lock(uv, sys.argv[1:], Path(folder))
    except Failure as failure:
        sys.stderr.write(f"Error: {failure}\n")
        return 1
    return 0


def lock(uv: Path, arguments: list[str], folder: Path) -> None:
    """Write requirements/*.txt."""
    everything = folder / "everything.txt"
    if "--upgrade" not in arguments:
        kept = {
            line.split(" \\")[0]
            for path in LOCKED.glob("*.txt")
            for line in path.read_text("utf-8").splitlines()
            if line and not line.startswith((" ", "#"))
        }
        everything.write_text("\n".join(sorted(kept)))
    extras = [extra for names in ENVIRONMENTS.values() for extra in names]
    _compile(uv, requirements(extras), folder, "--output-file", str(everything))
    LOCKED.mkdir(exist_ok=True)
    demo: set[str] = set()
    for name, extras_of_one in ENVIRONMENTS.items():
        path = folder / f"{name}.txt"
        options = ["--constraint", str(everything), "--output-file", str(path)]
        _compile(uv, requirements(extras_of_one), folder, *options, "--generate-hashes", *UNLOCKED)
        # A package and its hashes, each on a line that is indented.
        blocks = re.findall(r"^\S.*\n(?: .*\n)*", path.read_text("utf-8"), re.MULTILINE)
        added = [block for block in blocks if block not in demo]
        demo = demo or {*blocks}
        (LOCKED / path.name).write_text(HEAD + "".join(added), "utf-8")
        say(f"requirements/{path.name}: {len(blocks)} packages, {len(added)} of them in this file")


def _compile(uv: Path, wanted: list[str], folder: Path, *options: str) -> None:
    source = folder / "wanted.in"
    source.write_text("\n".join(wanted))
    command = [str(uv), "pip", "compile", str(source), *OPTIONS, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(done.stderr.strip())


if __name__ == "__main__":
    sys.exit(main())
