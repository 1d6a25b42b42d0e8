"""Environments of clients that cannot share one with the others: assistants, Jupyter's MCP server.

Each has its own folder in the cache, a file of requirements here, and the suites that run in it.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from install_environment import create_venv

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent

Logged = Callable[[list[str]], None]


@dataclass(frozen=True)
class Further:
    """An environment. ``beside_ours`` adds this repository and its packages to it."""

    name: str
    suites: tuple[str, ...]
    beside_ours: bool = False

    @property
    def requirements(self) -> Path:
        """The file with its requirements."""
        return FOLDER / f"requirements_{self.name}.txt"

    def install(self, home: Path, logged: Logged) -> Path:
        """Create the environment unless it is there; return its interpreter."""
        folder = home / self.name
        marker, python = folder / "installed", folder / "venv" / "bin" / "python"
        wanted = self.requirements.read_text() + str(ROOT)
        if marker.exists() and marker.read_text() == wanted:
            return python
        folder.mkdir(parents=True, exist_ok=True)
        python = create_venv(folder / "venv")
        pip = [str(python), "-m", "pip", "install", "--progress-bar", "off"]
        logged([*pip, "-r", str(self.requirements)])
        if self.beside_ours:
            # Its own packages come first, and ours are found by their entry points, too.
            (site,) = (folder / "venv").glob("lib/python*/site-packages")
            ours = sysconfig.get_path("purelib")
            (site / "zz_ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
            os.environ.setdefault("HATCH_JUPYTER_BUILDER_SKIP_NPM", "1")
            logged([*pip, "--no-deps", "-e", str(ROOT)])
        marker.write_text(wanted)
        return python


FURTHER = (
    Further("assistants", ("suite_jupyter_ai", "suite_notebook_intelligence")),
    Further("jupyter_mcp", ("suite_jupyter_server_mcp",), beside_ours=True),
)
