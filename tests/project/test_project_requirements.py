"""What the distributions and the development environments require."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from requirements import ENVIRONMENTS, FOLDERS, requirements  # noqa: E402

PACKAGES = {
    "jupyter-ollama": ["jupyter_ollama"],
    "jupyter-ollama-magics": ["magics/jupyter_ollama_client", "magics/jupyter_ollama_magics"],
}
OPTIONAL = {
    "jupyterlab_server",  # used where JupyterLab is found
    "pyarrow",
    "tqdm",
    "umap",
}
"""Packages that are imported where they are installed, besides those of the extras."""


def locked(name: str) -> dict[str, list[tuple[str, Marker | None]]]:
    """Return the versions of an environment, each with the marker of where it applies."""
    found: dict[str, list[tuple[str, Marker | None]]] = {}
    for file in {"demo", name}:
        for line in (ROOT / "requirements" / f"{file}.txt").read_text("utf-8").splitlines():
            if stated := re.match(r"([\w.-]+)==(\S+)(?: ; ([^\\]+))? ?\\?$", line):
                marker = Marker(stated[3]) if stated[3] else None
                found.setdefault(canonicalize_name(stated[1]), []).append((stated[2], marker))
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_is_locked_meets_every_requirement(name: str) -> None:
    versions = locked(name)
    for text in requirements(ENVIRONMENTS[name], without=["llama-cpp-python"]):
        requirement = Requirement(text)
        chosen = versions[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version, _ in chosen), text


def test_locks_name_no_host_and_all_hashes() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text("utf-8")
        assert "://" not in text
        blocks = re.findall(r"^\S+==.*\n(?: .*\n)*", text, re.MULTILINE)
        assert blocks
        assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize("distribution", PACKAGES)
def test_imports_are_declared(distribution: str) -> None:
    import tomllib

    project = tomllib.loads((FOLDERS[distribution] / "pyproject.toml").read_text("utf-8"))
    stated = project["project"]["dependencies"]
    for extra in project["project"]["optional-dependencies"].values():
        stated = [*stated, *extra]
    declared = {canonicalize_name(Requirement(text).name) for text in stated}
    providers = packages_distributions()
    for package in PACKAGES[distribution]:
        for path in (ROOT / package).rglob("*.py"):
            for name in imported(path) - set(sys.stdlib_module_names) - OPTIONAL:
                if name.startswith("jupyter_ollama") or name == "compression":
                    continue
                offered = {canonicalize_name(one) for one in providers.get(name, [name])}
                # IPython is declared by the magics, which the server requires.
                assert offered & (declared | {"ipython"}), f"{path}: {name}"


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a module imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module or "")
    return {name.partition(".")[0] for name in names}
