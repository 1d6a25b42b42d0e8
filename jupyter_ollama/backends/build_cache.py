"""The user's cache: what is downloaded or compiled once on a machine, and kept whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .command_log import Failure, say

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jupyter-ollama"


def check_space(what: str, needed: int) -> None:
    """Raise Failure if the cache's file system has less than ``needed`` bytes."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(CACHE).free) < needed:
        raise Failure(
            f"{what} has to be compiled, which takes {needed >> 20} MB in {CACHE}, "
            f"and {free >> 20} MB are free there. XDG_CACHE_HOME names another folder."
        )


def keep(directory: Path, key: str) -> Path:
    """Move the wheel in ``directory`` into the cache under ``key``, whole or not at all."""
    source = next(directory.glob("*.whl"))
    target = CACHE / "wheels" / key / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    return target


@contextmanager
def new_directory() -> Iterator[Path]:
    """Yield an empty directory beside the kept wheels, so that a rename out of it is atomic."""
    directory = CACHE / "new"
    # Existing files were left by a killed run: only the holder of the lock gets here.
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold ``path`` while no other process of this user does; wait for it, and print a notice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another run that builds llama.cpp")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
