"""Models made of files, put into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_vision

from jupyter_ollama.library.create import CreateRequest
from jupyter_ollama.library.model import Library


def add_model(library: Library, name: str, *files: Path, **fields: Any) -> None:
    """Create a model from files, and from fields of a request to create one."""
    digests = {file.name: library.store.add_blob(file.read_bytes()).digest for file in files}
    list(library.create(CreateRequest(model=name, files=digests, **fields)))


def add_seeing_model(library: Library, name: str, folder: Path) -> None:
    """Create a model that takes images, from files written to a folder; what it says is noise."""
    model, projector = folder / "model.gguf", folder / "projector.gguf"
    tiny_vision.write_language_model(model)
    tiny_vision.write_projector(projector, "gemma3")
    template = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
    add_model(library, name, model, projector, template=template)
