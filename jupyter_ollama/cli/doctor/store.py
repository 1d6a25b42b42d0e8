"""Checks of the folder of the models."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jupyter_ollama_client.readable import size

from ...config import OllamaServer
from ...library.store import Store
from .finding import Finding, error, note, ok

LITTLE_SPACE = 2 * 2**30
"""Bytes below which most models do not fit."""

ELSEWHERE = "Or keep models in another folder: OLLAMA_MODELS=FOLDER"


def findings(server: OllamaServer) -> Iterator[Finding]:
    """Yield the findings about the store."""
    root = Path(server.models_dir).expanduser()
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not existing.is_dir():
        text = f"{existing} is not a folder"
        yield error("Models", text, f"Move that file away.\n{ELSEWHERE}")
        return
    yield models(root)
    yield writable(root, existing)
    yield space(existing)


def models(root: Path) -> Finding:
    """Count the models."""
    if not root.exists():
        return note("Models", f"{root} does not exist yet", "jupyter ollama pull smollm2")
    try:
        names = Store(root).names()
    except OSError as fault:
        advice = f"Let this user read {root}.\n{ELSEWHERE}"
        return error("Models", f"{root} cannot be read: {fault.strerror}", advice)
    if not names:
        return note("Models", f"none in {root}", "jupyter ollama pull smollm2")
    return ok("Models", f"{len(names)} in {root}")


def writable(root: Path, existing: Path) -> Finding:
    """Write a file, since permissions alone do not show whether a file system allows it."""
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ok("Writing", f"{root} can be written")
    except OSError as fault:
        text = f"{existing} is read-only for this user: {fault.strerror}"
        advice = "Installed models run; pull, create and delete need a folder to write in"
        return error("Writing", text, f"{advice}.\n{ELSEWHERE}")


def space(existing: Path) -> Finding:
    """Report the free space of the disk."""
    free = shutil.disk_usage(existing).free
    if free < LITTLE_SPACE:
        advice = f"Delete models: jupyter ollama rm MODEL.\n{ELSEWHERE}"
        return note("Disk", f"only {size(free)} free at {existing}", advice)
    return ok("Disk", f"{size(free)} free")
