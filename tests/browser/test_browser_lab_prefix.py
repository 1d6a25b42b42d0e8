"""JupyterLab and the kernels of its server use the API below ``OllamaServer.url_prefix``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import browser_models
import pytest
from browser_models import ANSWER
from jupyterlab_page import Notebook, add_lab_extension, lab_server, open_lab
from playwright.sync_api import Page, expect
from run_notebook import Server

from jupyter_ollama.library.library import Library

PREFIX = "models/llm"

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def lab(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server that serves the API below another path."""
    home = tmp_path_factory.mktemp("lab")
    models = home / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    browser_models.fill(home, Library.open(models))
    add_lab_extension(home)
    with lab_server(home, models, url_prefix=f"/{PREFIX}/") as server:
        yield server


def test_the_chat_finds_the_models(page: Page, lab: Server) -> None:
    open_lab(page, lab)
    page.locator('[data-id="jupyter-ollama-chat"]').click()
    chat = page.locator("#jupyter-ollama-chat")
    chat.get_by_role("combobox", name="Model").select_option("thinker:latest")
    chat.get_by_role("textbox", name="Your question").fill("SAY")
    chat.get_by_role("textbox", name="Your question").press("Enter")
    expect(chat.get_by_text(ANSWER)).to_be_visible()


def test_the_magics_find_the_server(notebook: Notebook) -> None:
    notebook.create("%load_ext jupyter_ollama", "%ollama version")
    notebook.run(0)
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text("/models/llm (parent Jupyter server)")
