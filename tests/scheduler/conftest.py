"""The models that schedulers are tried with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts import Host

from jupyter_ollama.engine.handle import Runner
from jupyter_ollama.library.create import CreateRequest
from jupyter_ollama.library.model import Library, Model


@pytest.fixture
def smollm2(library: Library) -> Model:
    """SmolLM2-135M-Instruct."""
    return library.find("smollm2")


@pytest.fixture
def minilm(library: Library) -> Model:
    """all-MiniLM-L6-v2, which embeds."""
    return library.find("all-minilm")


@pytest.fixture
def models(scratch_store: Path) -> list[Model]:
    """Four that load fast: all-MiniLM-L6-v2 with a byte more each, so that they are not one."""
    library = Library.open(scratch_store)
    weights = library.find("all-minilm").model_path.read_bytes()
    for name in "abcd":
        digest = library.store.add_blob(weights + name.encode()).digest
        list(library.create(CreateRequest(model=name, files={"model.gguf": digest})))
    return [library.find(name) for name in "abcd"]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with room for three runners."""
    host = Host(3)
    monkeypatch.setattr(Runner, "start", host.start)
    return host
