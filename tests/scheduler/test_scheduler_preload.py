"""Models that are loaded at the start of the server."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_process import serving
from run_notebook import Server, jupyter_server
from scheduling import eventually, names
from store_models import create_model
from traitlets import TraitError

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.model import Model


async def test_they_are_loaded_as_by_a_request(
    scratch_store: Path, models: list[Model], caplog: pytest.LogCaptureFixture
) -> None:
    body: dict[str, Any] = {"model": "b", "from": "b", "parameters": {"num_ctx": 64}}
    create_model(Library.open(scratch_store), **body)
    server = OllamaServer(
        models_dir=str(scratch_store),
        pinned_models=["a"],
        preload_models=["a", "nothing/there", "b"],
        keep_alive=60,
    )
    try:
        with caplog.at_level(logging.INFO, "jupyter_ollama"):
            server.preload()
            assert server.scheduler.loaded() == []
            await eventually(lambda: names(server.scheduler) == "ab", 30)
        a, b = server.scheduler.loaded()
        assert a.pinned
        assert a.expires_at.year > 2200
        assert not b.pinned
        assert b.num_ctx == 64
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
            "nothing/there is not loaded: model 'nothing/there' not found"
        ]
    finally:
        await server.stop()


async def test_stopping_cancels_the_loads(
    scratch_store: Path, models: list[Model], children: Callable[[], list[psutil.Process]]
) -> None:
    server = OllamaServer(models_dir=str(scratch_store), preload_models=["a", "b"])
    server.preload()
    await eventually(lambda: len(children()) == 1)
    await server.stop()
    assert children() == []


@pytest.mark.parametrize("trait", ["preload_models", "pinned_models"])
def test_invalid_names_of_models(trait: str) -> None:
    with pytest.raises(TraitError, match=f"{trait}: 'a b' is not a model name"):
        OllamaServer(**{trait: ["a", "a b"]})


def loaded(server: Server, prefix: str) -> list[str]:
    return [model["name"] for model in server.call("GET", f"{prefix}/api/ps")["models"]]


def test_the_stand_alone_server_does_so(ollama_store: Path, tmp_path: Path) -> None:
    arguments = ("--OllamaServer.pinned_models=all-minilm", "--OllamaServer.preload_models=unknown")
    with serving({"HOME": str(tmp_path)}, ollama_store, tmp_path, *arguments) as served:
        served.wait_for("unknown is not loaded: model 'unknown' not found")
        assert loaded(Server(f"http://{served.host}", ""), "") == ["all-minilm:latest"]


def test_the_extension_does_so(
    ollama_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"OllamaServer": {"preload_models": ["all-minilm"]}}
    (tmp_path / "jupyter_ollama_config.json").write_text(json.dumps(settings))
    monkeypatch.setenv("OLLAMA_MODELS", str(ollama_store))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    with jupyter_server(tmp_path) as server:
        while loaded(server, "/ollama") != ["all-minilm:latest"]:
            time.sleep(0.1)
