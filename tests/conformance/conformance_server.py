"""A stand-alone server, as a process of its own, with the models that the suites ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import starter_models
from cli_process import Served, serving
from conformance_scripts import CALLER, TEMPLATE, THINKER
from scripted_model import MESSAGES, write_scripts
from store_models import add_hearing_model, add_model

from jupyter_ollama.library.library import Library

MODELS = {"caller": (CALLER, ""), "thinker": (THINKER, "<think> </think>")}


def make_store(folder: Path) -> Path:
    """Put all models into the store in ``folder``; it may have the starter models already."""
    library = Library.open(folder)
    for name in ("smollm2", "all-minilm"):
        starter_models.register(name, library)
    for name, (scripts, tags) in MODELS.items():
        path = folder.with_name(f"{name}.gguf")
        write_scripts(path, scripts, template=TEMPLATE % tags + MESSAGES, otherwise='"')
        add_model(library, name, path)
        path.unlink()
    add_hearing_model(library, "hearing", folder.parent)
    return folder


@contextmanager
def conformance_server(folder: Path) -> Iterator[Served]:
    """Serve the store ``folder / "models"``, with no settings or files of the user."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OLLAMA_", "JUPYTER", "JPY_"))
    }
    environment["HOME"] = str(folder)
    with serving(environment, make_store(folder / "models"), folder) as served:
        yield served
