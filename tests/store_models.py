"""Models made of files, put into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_ollama.library.create import CreateRequest
from jupyter_ollama.library.model import Library


def add_model(library: Library, name: str, *files: Path, **fields: Any) -> None:
    """Create a model from files, and from fields of a request to create one."""
    digests = {file.name: library.store.add_blob(file.read_bytes()).digest for file in files}
    list(library.create(CreateRequest(model=name, files=digests, **fields)))
