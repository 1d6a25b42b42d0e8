"""A real device of ggml on any Linux host: Vulkan on Mesa's software driver, llvmpipe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ollama_layout import unpack

from jupyter_ollama.library.library import Library

FOLDER = Path(sys.prefix) / "vulkan"
"""Where `make test` installs the backend: not where servers of other tests look for it."""


@pytest.fixture(scope="session")
def vulkan() -> str:
    """The file of the Vulkan backend."""
    path = FOLDER / "libggml-vulkan.so"
    command = f"jupyter ollama install-backend vulkan --folder {FOLDER}"
    assert path.exists(), f"These tests need the Vulkan backend: {command}"
    return str(path)


@pytest.fixture
def one_gpu(vulkan: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backend, with one device. Without this variable ggml ignores processors."""
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "0")
    return vulkan


@pytest.fixture
def two_gpus(vulkan: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backend, with the one device as two."""
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "0,0")
    return vulkan


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the models of `ollama_layout`."""
    return tmp_path_factory.mktemp("layout")


@pytest.fixture(scope="session")
def llama3(model_folder: Path) -> Path:
    """A tiny Llama 3."""
    return unpack("llama3", model_folder)


@pytest.fixture(scope="session")
def smollm2(library: Library) -> Path:
    """SmolLM2-135M-Instruct in Q4_0: 30 layers and the output."""
    return library.find("smollm2").model_path
