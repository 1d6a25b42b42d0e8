"""Jupyter AI: %%ai in IPython, and Jupyternaut's chat, as `jupyter ollama launch` sets them up."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conformance_scripts import PLAIN


@pytest.fixture
def config(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration that our command writes, in a data folder of its own."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it asks GitHub otherwise
    done = subprocess.run(
        [
            os.environ["CONFORMANCE_LAUNCH"],
            "launch",
            "jupyter-ai",
            "--model",
            "caller",
            "--config",
            "--yes",
        ],
        env={**os.environ, "OLLAMA_HOST": f"http://{host}", "OLLAMA_API_KEY": "unused"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "jupyter_ai" / "config.json"


def test_the_magic_answers(config: Path, host: str) -> None:
    """%%ai by the alias that the command prints."""
    cell = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'jupyter_ai_magic_commands')\n"
        f"line = 'alias here openai/caller --api-base http://{host}/v1"
        " --api-key-name OPENAI_API_KEY'\n"
        "shell.run_line_magic('ai', line)\n"
        "print(shell.run_cell_magic('ai', 'here --format text', 'hello'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", cell],
        env={**os.environ, "OPENAI_API_KEY": "unused", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert PLAIN in done.stdout, done.stdout + done.stderr


def test_the_settings_are_those_of_jupyternaut(config: Path, host: str) -> None:
    """Jupyter AI's own reader accepts the file and finds the model in it."""
    from jupyter_ai_jupyternaut.config.config_manager import ConfigManager

    before = json.loads(config.read_text())
    manager = ConfigManager(log=logging.getLogger("test"), defaults={}, config_path=str(config))
    assert manager.chat_model == "openai/caller"
    assert manager.chat_model_args["api_base"] == f"http://{host}/v1"
    (custom,) = manager.custom_models
    assert custom.model_id == "openai/caller"
    after = json.loads(config.read_text())
    assert {name: after[name] for name in before} == before


def test_the_chat_answers(config: Path) -> None:
    """Jupyternaut processes a message: its own agent, model and streaming, without a page."""
    from jupyter_ai_jupyternaut.config.config_manager import ConfigManager
    from jupyter_ai_jupyternaut.jupyternaut.jupyternaut import JupyternautPersona

    said: list[str] = []

    class Chat(JupyternautPersona):
        """Jupyternaut in a room that keeps what is said."""

        def __init__(self) -> None:
            self.config_manager = ConfigManager(
                log=logging.getLogger("test"), defaults={}, config_path=str(config)
            )
            self.log = logging.getLogger("test")
            self.chat = SimpleNamespace(get_id=lambda: "room")

        name = "Jupyternaut"
        id = "jupyternaut"

        def get_model(self) -> str | None:
            return None

        async def get_tools(self) -> list[Any]:
            return []

        async def get_memory_store(self) -> Any:
            return None

        def get_system_prompt(self, model_id: str, message: Any) -> Any:
            return "Be kind."

        async def stream_message(self, reply: Any) -> None:
            async for part in reply:
                said.append(part)

        def send_message(self, body: str) -> None:
            said.append(body)

    message = SimpleNamespace(body="hello", sender="ann", attachments=[])
    asyncio.run(Chat().process_message(message))
    assert "".join(said) == PLAIN
