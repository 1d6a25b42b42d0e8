"""Stores and runtime folders for Hubs and the servers that they start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Hub. Kernels of its users leave their connection files below it."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        yield folder


@pytest.fixture(scope="module")
def hub_models(ollama_store: Path, hub_folder: Path) -> Path:
    """A store that managers may change; the blobs are hard links."""
    copy = hub_folder / "models"
    shutil.copytree(ollama_store, copy, copy_function=os.link)
    return copy
