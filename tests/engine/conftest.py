"""Model files for the engine's tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import starter_models

from jupyter_ollama.library.library import Library


@pytest.fixture(scope="session")
def smollm2(library: Library) -> Path:
    """SmolLM2-135M-Instruct in Q4_0."""
    return library.find("smollm2").model_path


@pytest.fixture(scope="session")
def smollm2_q4_0(smollm2: Path) -> Path:
    """The same, by its type."""
    return smollm2


@pytest.fixture(scope="session")
def smollm2_q4_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in the format of its package."""
    library = Library.open(tmp_path_factory.mktemp("q4_1"))
    starter_models.register("smollm2", library, quantize=None)
    return library.find("smollm2").model_path


@pytest.fixture(scope="session")
def smollm2_f16(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in F16, whose rounding hides no mistakes."""
    return in_f16(smollm2, tmp_path_factory.mktemp("f16"))


@pytest.fixture(scope="session")
def gemma3_f16(gemma3_library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3 270M in F16: of its Q4_K_M some logits differ by 6 between equal KV caches."""
    return in_f16(gemma3_library.find("gemma3").model_path, tmp_path_factory.mktemp("f16"))


def in_f16(model: Path, folder: Path) -> Path:
    """Turn the weights of a GGUF into F16."""
    path = folder / "f16.gguf"
    command = [sys.executable, "-m", "jupyter_ollama.engine.quantize", model, path, "F16"]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture(scope="session")
def minilm(library: Library) -> Path:
    """all-MiniLM-L6-v2."""
    return library.find("all-minilm").model_path
