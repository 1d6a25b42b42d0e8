"""Print what the project depends on, without some packages.

python tools/requirements.py --extras docs --without llama-cpp-python
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"jupyter-ollama": ROOT, "jupyter-ollama-magics": ROOT / "magics"}
"""The two distributions of this project: each requires the other one, or parts of itself."""

ENVIRONMENTS = {
    "demo": ("lab", "convert"),  # all-minilm is converted from safetensors
    "test": ("lab", "convert", "test"),
    # mypy reads the types of all that the packages import.
    "lint": ("lab", "convert", "arrow", "dask", "hub", "registry", "web", "lint"),
    "docs": ("lab", "convert", "docs"),
}
"""The environments that `make` installs, and the extras that each of them has."""


def requirements(extras: Iterable[str], without: Iterable[str] = ()) -> list[str]:
    """Return the requirements of both distributions with extras, each once, without its own."""
    found = {}
    for name in FOLDERS:
        found |= dict.fromkeys(_of(name, extras if name == "jupyter-ollama" else ()))
    return [one for one in found if name_of(one) not in {*without}]


def _of(distribution: str, extras: Iterable[str]) -> Iterator[str]:
    """Yield the requirements of one distribution, those of its extras too."""
    text = (FOLDERS[distribution] / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project.get("optional-dependencies", {}).get(extra, [])
    for requirement in wanted:
        if (name := name_of(requirement)) not in FOLDERS:
            yield requirement
        elif listed := re.search(r"\[(.+)\]", requirement):
            yield from _of(name, listed[1].split(","))


def name_of(requirement: str) -> str:
    """Return the name of the distribution that a requirement begins with."""
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0]


def main() -> None:
    """Print a requirement a line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--extras", nargs="*", default=[])
    parser.add_argument("--without", nargs="*", default=[])
    arguments = parser.parse_args()
    for requirement in requirements(arguments.extras, arguments.without):
        sys.stdout.write(requirement + "\n")


if __name__ == "__main__":
    main()
