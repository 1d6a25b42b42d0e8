"""The models of the scheduler's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts import Host
from store_models import create_model

from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.model import Model


@pytest.fixture
def smollm2(library: Library) -> Model:
    """SmolLM2-135M-Instruct."""
    return library.find("smollm2")


@pytest.fixture
def minilm(library: Library) -> Model:
    """all-MiniLM-L6-v2, an embedding model."""
    return library.find("all-minilm")


@pytest.fixture
def models(scratch_store: Path) -> list[Model]:
    """Four models that load fast: all-MiniLM-L6-v2, each with another byte, so that all differ."""
    library = Library.open(scratch_store)
    weights = library.find("all-minilm").model_path.read_bytes()
    for name in "abcd":
        digest = library.store.add_blob(weights + name.encode()).digest
        create_model(library, model=name, files={"model.gguf": digest})
    return [library.find(name) for name in "abcd"]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose memory holds three runners."""
    host = Host(3)
    monkeypatch.setattr(RunnerClient, "start", host.start)
    return host
