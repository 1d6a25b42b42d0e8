"""The texts of the page that set clients up: they run, and agree with `jupyter ollama launch`."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from shared_server import sharing

from jupyter_ollama.cli.launch.coding_agents import CLAUDE, OPENCODE
from jupyter_ollama.cli.launch.target import Target
from jupyter_ollama.page.clients import CLIENTS

TEXTS = {one["name"]: one["text"] for one in CLIENTS}
TARGET = Target("https://hub.example/services/ollama/ollama", "the-token", "smollm2:latest")


def filled(name: str, url: str, token: str, model: str) -> str:
    values = {"url": url, "token": token, "model": model}
    return re.sub(r"\{(url|token|model)\}", lambda found: values[found[1]], TEXTS[name])


@pytest.mark.parametrize("name", ["curl", "OpenAI (Python)", "Ollama (Python)"])
async def test_a_text_runs_as_it_is(ollama_store: Path, name: str) -> None:
    limits = {"*": {"num_predict": 32}}  # the texts set no limit
    async with sharing(models_dir=str(ollama_store), limits=limits) as shared:
        text = filled(name, shared.url, "any", "smollm2:latest")
        command = ["bash", "-c", text] if name == "curl" else [sys.executable, "-c", text]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    if name == "curl":
        assert json.loads(done.stdout)["done"]
    else:
        assert done.stdout.strip()


def test_agents_are_set_up_as_launch_does() -> None:
    arguments = (TARGET.url, TARGET.token, TARGET.model)
    shown = dict(re.findall(r"export (\w+)=(.*)", filled("Claude Code", *arguments)))
    variables = CLAUDE.variables(TARGET)
    assert {name: value.strip("'") for name, value in shown.items()} == variables
    (content,) = OPENCODE.variables(TARGET).values()
    assert json.loads(filled("opencode", *arguments)) == json.loads(content)
