"""Fixtures for all packages: stores with the starter models, made once a session; and markers."""

from __future__ import annotations

import os

# Read by OpenMP when it is loaded: see jupyter_ollama.engine.runner_process.ENVIRONMENT.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OMP_WAIT_POLICY", "active")

import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import starter_models

from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store

pytest_plugins = ["pytest_jupyter.jupyter_server"]

UNIT = ("batches", "library", "parsing", "project", "prompt", "schema", "usage")
"""Folders whose tests load no model and start no server."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no other test modules for `-m unit`: theirs take longer than the tests."""
    unit_only = config.option.markexpr == "unit" and collection_path.is_dir()
    return True if unit_only and folder_of(collection_path) not in UNIT else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by its folder: `unit`, `browser`, `gpu`, `hub`, or else `engine`."""
    for item in items:
        folder = folder_of(item.path)
        own = folder if folder in ("browser", "gpu", "hub") else "engine"
        item.add_marker("unit" if folder in UNIT else own)
        if own == "gpu":
            item.add_marker(pytest.mark.timeout(900))


def folder_of(path: Path) -> str:
    """Return the folder of tests/ that contains a file."""
    return path.relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(autouse=True, scope="session")
def no_settings_of_the_user() -> None:
    """Keep a user's OLLAMA_* and server addresses out of the tests."""
    for name in list(os.environ):
        if name.startswith(("OLLAMA_", "JUPYTER_OLLAMA_")) or name == "JPY_PARENT_PID":
            del os.environ[name]


@pytest.fixture(scope="session")
def ollama_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with smollm2 and all-minilm. Read only: see `scratch_store`."""
    root = tmp_path_factory.mktemp("models")
    library = Library(Store(root))
    for name in ("smollm2", "all-minilm"):
        starter_models.register(name, library)
    return root


@pytest.fixture(scope="session")
def library(ollama_store: Path) -> Library:
    """The starter models as the server sees them."""
    return Library(Store(ollama_store))


@pytest.fixture
def scratch_store(ollama_store: Path, tmp_path: Path) -> Path:
    """A copy of the store that a test may change; the blobs are hard links."""
    copy = tmp_path / "models"
    shutil.copytree(ollama_store, copy, copy_function=os.link)
    return copy


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    store = Store(tmp_path / "models")
    store.prepare()
    return store


@pytest.fixture(scope="session")
def gemma3_library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A store with gemma3 alone: 262k words, sliding window, no template of its own."""
    library = Library(Store(tmp_path_factory.mktemp("gemma3")))
    starter_models.register("gemma3", library)
    return library


@pytest.fixture
def children() -> Callable[[], list[psutil.Process]]:
    """List the processes that a test has started: servers that others share are none of them."""
    before = psutil.Process().children()
    return lambda: [child for child in psutil.Process().children() if child not in before]
