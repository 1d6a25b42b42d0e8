"""A program that can be set up for this server: what it reads, and how it starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..command import CommandError
from .config_file import Edit
from .target import Target

PROVIDER = "jupyter-ollama"
"""The name of our entry in the files of other programs."""


def home(variable: str, *otherwise: str) -> Path:
    """Return the folder that a variable names, else one in the home folder."""
    given = os.environ.get(variable, "")
    return Path(given) if given else Path.home().joinpath(*otherwise)


def _no_edits(target: Target) -> list[Edit]:
    return []


def _no_variables(target: Target) -> Mapping[str, str]:
    return {}


def _no_arguments(target: Target) -> list[str]:
    return []


@dataclass(frozen=True)
class Program:
    """A program by the name that `jupyter ollama launch` takes.

    ``edits`` are the changes of its configuration files, ``paths`` those files. ``variables`` and
    ``arguments`` are given to it when it starts; ``arguments`` never have a token. A program that
    starts without its files (``needs_files`` false) gets all it needs by ``variables``.
    ``commands`` are its executables, the preferred one first; empty where Jupyter runs it.
    ``install`` is how to get it, ``after`` what to do once its files are written.
    """

    name: str
    title: str
    install: str
    commands: tuple[str, ...] = ()
    edits: Callable[[Target], list[Edit]] = _no_edits
    paths: Callable[[], list[Path]] = list
    variables: Callable[[Target], Mapping[str, str]] = _no_variables
    arguments: Callable[[Target], list[str]] = _no_arguments
    first_arguments: tuple[str, ...] = ()
    needs_files: bool = True
    after: Callable[[Target], str] = lambda target: ""

    def executable(self) -> str:
        """Return the path of the program. Raises CommandError that says how to install it."""
        for command in self.commands:
            if found := shutil.which(command):
                return found
        raise CommandError(f"{self.title} is not installed. Get it: {self.install}")
