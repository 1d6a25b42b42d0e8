"""Settings: traits, Ollama's variables behind them, and what importing them costs."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from jupyter_ollama.config import OllamaServer

HEAVY = {"llama_cpp", "numpy", "pandas", "gotpl", "gguf", "ipywidgets", "zmq", "jinja2.sandbox"}


def imported_by(statement: str) -> set[str]:
    """Return the modules that a statement imports in a fresh interpreter."""
    code = f"import sys; before = set(sys.modules); {statement}\n"
    code += "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(json.loads(run.stdout))


def test_defaults() -> None:
    server = OllamaServer()
    assert server.models_dir == str(Path.home() / ".ollama" / "models")
    assert (server.keep_alive, server.load_timeout) == (300, 300)
    assert (server.max_loaded_models, server.num_parallel, server.max_queue) == (0, 0, 512)
    assert (server.context_length, server.kv_cache_type) == (0, "f16")
    assert (server.flash_attention, server.debug, server.origins) == (None, False, [])
    assert (server.url_prefix, server.mount_root) == ("ollama", False)
    assert server.repetition_stop is True


@pytest.mark.parametrize(
    ("variable", "text", "trait", "value"),
    [
        ("OLLAMA_MODELS", " '/data/models' ", "models_dir", "/data/models"),
        ("OLLAMA_KEEP_ALIVE", '"1h30m"', "keep_alive", 5400),
        ("OLLAMA_KEEP_ALIVE", "90", "keep_alive", 90),
        ("OLLAMA_KEEP_ALIVE", "0", "keep_alive", 0),
        ("OLLAMA_KEEP_ALIVE", "-1", "keep_alive", math.inf),
        ("OLLAMA_LOAD_TIMEOUT", "10s", "load_timeout", 10),
        ("OLLAMA_TRUNCATE_PROMPTS", "0", "truncate_prompts", False),
        ("OLLAMA_LOAD_TIMEOUT", "-1", "load_timeout", 0),
        ("OLLAMA_MAX_LOADED_MODELS", "2", "max_loaded_models", 2),
        ("OLLAMA_NUM_PARALLEL", " 4 ", "num_parallel", 4),
        ("OLLAMA_MAX_QUEUE", "7", "max_queue", 7),
        ("OLLAMA_GPU_OVERHEAD", "1073741824", "gpu_overhead", 2**30),
        ("OLLAMA_SCHED_SPREAD", "1", "sched_spread", True),
        ("OLLAMA_SCHED_SPREAD", "0", "sched_spread", False),
        ("OLLAMA_CONTEXT_LENGTH", "8192", "context_length", 8192),
        ("OLLAMA_KV_CACHE_TYPE", "Q8_0", "kv_cache_type", "q8_0"),
        ("OLLAMA_FLASH_ATTENTION", "1", "flash_attention", True),
        ("OLLAMA_FLASH_ATTENTION", "false", "flash_attention", False),
        ("OLLAMA_FLASH_ATTENTION", "please", "flash_attention", True),
        ("OLLAMA_REPETITION_STOP", "0", "repetition_stop", False),
        ("OLLAMA_DEBUG", "2", "debug", True),
        ("OLLAMA_DEBUG", "0", "debug", False),
        ("OLLAMA_ORIGINS", "https://a.org, app://x*", "origins", ["https://a.org", "app://x*"]),
    ],
)
def test_variables(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, trait: str, value: Any
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(OllamaServer(), trait) == value


@pytest.mark.parametrize(
    ("variable", "trait", "value"),
    [
        ("OLLAMA_MAX_QUEUE", "max_queue", 512),
        ("OLLAMA_NUM_PARALLEL", "num_parallel", 0),
        ("OLLAMA_GPU_OVERHEAD", "gpu_overhead", 0),
        ("OLLAMA_KEEP_ALIVE", "keep_alive", 300),
        ("OLLAMA_KV_CACHE_TYPE", "kv_cache_type", "f16"),
    ],
)
def test_invalid_variables_are_logged_and_ignored(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    trait: str,
    value: Any,
) -> None:
    monkeypatch.setenv(variable, "-3 apples")
    with caplog.at_level(logging.WARNING, "jupyter_ollama"):
        assert getattr(OllamaServer(), trait) == value
    assert variable in caplog.text


def test_configuration_wins_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_KEEP_ALIVE", "1m")
    config = Config({"OllamaServer": {"keep_alive": "2m"}})
    assert OllamaServer(config=config).keep_alive == 120
    assert OllamaServer(keep_alive=-1).keep_alive == math.inf


@pytest.mark.parametrize(
    "settings",
    [
        {"keep_alive": "soon"},
        {"keep_alive": True},
        {"num_parallel": -1},
        {"kv_cache_type": "q1"},
        {"url_prefix": "/"},
        {"url_prefix": "api/ollama"},
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TraitError):
        OllamaServer(**settings)


def test_every_trait_has_help_and_can_be_configured() -> None:
    for name, trait in OllamaServer.class_own_traits().items():
        assert trait.metadata.get("config"), name
        assert trait.help.endswith("."), name


async def test_stopping_an_unused_server_starts_nothing(tmp_path: Path) -> None:
    server = OllamaServer(models_dir=str(tmp_path / "models"))
    await server.stop()
    assert "scheduler" not in vars(server)
    assert not (tmp_path / "models").exists()


def test_the_package_itself_imports_next_to_nothing() -> None:
    modules = imported_by("import jupyter_ollama")
    assert not [
        m for m in modules if m.partition(".")[0] in ("tornado", "jupyter_server", "IPython")
    ]


def test_the_extension_imports_nothing_heavy() -> None:
    modules = imported_by(
        "import jupyter_ollama; jupyter_ollama._jupyter_server_extension_points()"
    )
    before = imported_by("import jupyter_server.serverapp, jupyter_server.extension.application")
    assert "jupyter_ollama.api.jupyter" in modules
    assert not (modules - before) & HEAVY
