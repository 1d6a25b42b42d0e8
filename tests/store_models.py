"""Models made of files, put into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import tiny_audio
import tiny_vision

from jupyter_ollama.engine import quantize
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store


def create_model(library: Library, **body: Any) -> list[dict[str, Any]]:
    """Create a model from the body of a request to /api/create; return the status lines."""
    request = msgspec.convert(body, CreateRequest)
    return list(create(library.store, request, quantize.run))


def statuses(lines: list[dict[str, Any]]) -> list[str]:
    """The status texts, digests shortened, repeated lines once."""
    texts = [line["status"].split(" sha256:")[0] for line in lines]
    return [text for index, text in enumerate(texts) if texts[index - 1 : index] != [text]]


def store_files(store: Store) -> dict[str, bytes]:
    """Return the contents of all files of a store by their paths, without the lock file."""
    files = (path for path in store.root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in files
        if path.name != ".jupyter-ollama.lock"
    }


def add_model(library: Library, name: str, *files: Path, **fields: Any) -> None:
    """Create a model from files, and from fields of a request to create one."""
    digests = {file.name: library.store.add_blob(file.read_bytes()).digest for file in files}
    request = CreateRequest(model=name, files=digests, **fields)
    list(create(library.store, request, quantize.run))


def add_seeing_model(library: Library, name: str, folder: Path) -> None:
    """Create a model that takes images, from files written to a folder; its answers are noise."""
    model, projector = folder / "model.gguf", folder / "projector.gguf"
    tiny_vision.write_language_model(model)
    tiny_vision.write_projector(projector, "gemma3")
    template = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
    add_model(library, name, model, projector, template=template)


def add_hearing_model(library: Library, name: str, folder: Path) -> None:
    """Create a model that takes sounds, from files written to a folder; its answers are short."""
    model, projector = folder / "hearing.gguf", folder / "ears.gguf"
    tiny_vision.write_language_model(model)
    tiny_audio.write_projector(projector, "gemma4ua")
    template = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
    parameters = {"num_predict": 5}
    add_model(library, name, model, projector, template=template, parameters=parameters)
