"""The settings of the agent, and how pages get them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from jupyter_ollama.agent_settings import AGENT_TOOLS
from jupyter_ollama.config import OllamaServer

TOOLS = Path(__file__).parents[2] / "labextension" / "src" / "agent" / "tools"
DEFAULT = {"run": "ask", "tools": None, "steps": 100, "tokens": 1_000_000, "minutes": 60.0}


def server(**traits: Any) -> OllamaServer:
    return OllamaServer(config=Config({"OllamaServer": traits}))


def test_pages_get_the_rules(jp_serverapp: Any) -> None:
    assert jp_serverapp.web_app.settings["page_config_data"]["ollamaAgent"] == DEFAULT


def test_the_rules_of_an_administrator() -> None:
    rules = server(
        agent_run_policy="never",
        agent_tools=["read_cell"],
        agent_max_steps=3,
        agent_max_tokens=500,
        agent_max_minutes=0.5,
    ).agent_policy()
    assert rules == {
        "run": "never",
        "tools": ["read_cell"],
        "steps": 3,
        "tokens": 500,
        "minutes": 0.5,
    }
    for tools in ([], ["mcp:wiki", "mcp:files.read_file"]):
        assert server(agent_tools=tools).agent_policy()["tools"] == tools


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        ({"agent_tools": ["shell"]}, "there is no tool 'shell'"),
        ({"agent_tools": ["mcp:"]}, "there is no tool 'mcp:'"),
        ({"agent_run_policy": "sometimes"}, "agent_run_policy"),
        ({"agent_max_steps": 0}, "agent_max_steps"),
        ({"agent_max_minutes": -1}, "agent_max_minutes"),
    ],
)
def test_invalid_rules_are_refused(traits: dict[str, Any], message: str) -> None:
    with pytest.raises(TraitError, match=message):
        server(**traits).agent_policy()


def test_the_tools_are_those_of_the_page() -> None:
    sources = "".join(path.read_text() for path in TOOLS.glob("*.ts"))
    assert set(re.findall(r"name: '(\w+)'", sources)) == set(AGENT_TOOLS)
