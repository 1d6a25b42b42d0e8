"""A real Jupyter server with the extension and the starter models, and kernels that it starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from real_kernel import Kernel
from run_notebook import Server, jupyter_server, kernel


@pytest.fixture(scope="module")
def server(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server process, with settings and runtime files of its own."""
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_MODELS", str(ollama_store))
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(home / name.lower()))
        with jupyter_server(home) as running:
            yield running


@pytest.fixture
def cell(server: Server, tmp_path: Path) -> Iterator[Kernel]:
    """A fresh kernel of the server with the magics loaded."""
    with kernel(server, tmp_path / "notebook.ipynb") as client:
        fresh = Kernel(None, client)
        fresh.run("%load_ext jupyter_ollama")
        yield fresh
