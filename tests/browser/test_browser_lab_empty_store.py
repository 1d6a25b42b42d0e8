"""From an empty store to the first answer in JupyterLab, by clicks and one typed question."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from jupyterlab_page import add_lab_extension, lab_server, open_lab
from peers import Blob, FaultyRegistry, faulty_registry
from playwright.sync_api import Locator, Page, expect
from run_notebook import Server

from jupyter_ollama.library.library import Library

pytestmark = pytest.mark.usefixtures("quiet")
SOURCE = Path(__file__).parents[2] / "labextension" / "src" / "models"
LIBRARY = json.loads((SOURCE / "library.json").read_bytes())
MOST_CLICKS = 6
PIECE = 2**15
COUNT_CLICKS = "addEventListener('click', () => { window.clicks = 1 + (window.clicks ?? 0) }, true)"


class Gate(NamedTuple):
    """A registry that sends slowly until the gate is open."""

    registry: FaultyRegistry
    is_open: threading.Event

    async def send(self, handler: Blob, content: bytes) -> None:
        """Answer a request for a blob."""
        rest = handler.head_of(content)
        for start in range(0, len(rest), PIECE):
            handler.write(bytes(rest[start : start + PIECE]))
            await handler.flush()
            if not self.is_open.is_set():
                await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
def gate(library: Library) -> Iterator[Gate]:
    """A registry with smollm2's file under the names of all models that the panel suggests."""
    weights = library.find("smollm2").model_path.read_bytes()
    with faulty_registry() as registry:
        for model in LIBRARY:
            registry.publish(f"library/{model['name']}", weights)
        gate = Gate(registry, threading.Event())
        registry.always = gate.send
        yield gate
        gate.is_open.set()


@pytest.fixture(scope="module")
def lab(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server without models."""
    home = tmp_path_factory.mktemp("lab")
    add_lab_extension(home)
    mirrors = {"registry.ollama.ai": f"http://{gate.registry.host}"}
    with lab_server(home, home / "models", registry_mirrors=mirrors) as server:
        yield server


def card(page: Page, label: str) -> Locator:
    """Return a card of the launcher."""
    return page.locator(".jp-LauncherCard", has_text=label)


def test_the_panels_recommend_one_model(page: Page, lab: Server) -> None:
    open_lab(page, lab)
    card(page, "Models").click()
    panel = page.locator("#jupyter-ollama-models")
    starters = panel.get_by_role("region", name="Models to start with")
    expect(starters.get_by_text(re.compile(r"has [\d.]+ GB of free memory"))).to_be_visible()
    expect(starters.locator("button.jp-mod-accept")).to_have_count(1)
    starters.get_by_text(re.compile(r"\d+ more that fit")).click()
    expect(starters.get_by_role("button", name="Get all-minilm")).to_be_visible()


def test_six_clicks_and_a_question_lead_to_an_answer(page: Page, lab: Server, gate: Gate) -> None:
    open_lab(page, lab)
    page.evaluate(COUNT_CLICKS)
    card(page, "Chat").click()
    chat = page.locator("#jupyter-ollama-chat")
    best = chat.locator(".jpo-starters button.jp-mod-accept")
    name = best.inner_text().removeprefix("Get ")
    best.click()
    transfer = chat.get_by_role("group", name=name)
    expect(transfer.get_by_text(re.compile(r"^[\d.]+ [kM]?B/s, [\d:]+ left$"))).to_be_visible()
    gate.is_open.set()
    question = chat.get_by_role("textbox", name="Your question")
    expect(page.get_by_text(f"{name} is installed.")).to_be_visible()
    expect(question).to_be_focused()
    expect(chat.get_by_role("combobox", name="Model")).to_have_value(name)
    page.keyboard.type("What is the capital of France?")
    page.keyboard.press("Enter")
    answer = chat.locator(".jpo-turn").last.locator(".jp-RenderedMarkdown")
    expect(answer).to_have_text(re.compile(r"\w{3}"))
    assert page.evaluate("window.clicks") <= MOST_CLICKS
