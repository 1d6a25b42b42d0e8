"""Fixtures of the library's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_gguf import write_gguf

from jupyter_ollama.library.model import Library
from jupyter_ollama.library.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    store = Store(tmp_path / "models")
    store.prepare()
    return store


@pytest.fixture
def empty_library(store: Store) -> Library:
    """A library without models, on the empty store."""
    return Library(store)


@pytest.fixture
def tiny_digest(store: Store, tmp_path: Path) -> str:
    """The digest of a small GGUF in the store."""
    path = write_gguf(tmp_path / "tiny.gguf", general__file_type=1, llama__context_length=64)
    return store.add_blob(path.read_bytes()).digest


@pytest.fixture
def snapshot(store: Store) -> Callable[[], dict[str, bytes]]:
    """Tell all files of the store and what is in them; the lock file does not count."""

    def take() -> dict[str, bytes]:
        files = (path for path in store.root.rglob("*") if path.is_file())
        return {
            str(path.relative_to(store.root)): path.read_bytes()
            for path in files
            if path.name != ".jupyter-ollama.lock"
        }

    return take
