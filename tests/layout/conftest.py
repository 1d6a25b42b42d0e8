"""Models in Ollama's layout, unpacked once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from ollama_layout import unpack


@pytest.fixture(scope="session")
def layout_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the path of a model by its name."""
    return partial(unpack, folder=tmp_path_factory.mktemp("layout"))
