"""JupyterLab with the extension, in Debian's Chromium."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import browser_models
import pytest
from jupyterlab_page import Notebook, chromium, lab_server, use_theme
from playwright.sync_api import Browser, Page
from run_notebook import Server

from jupyter_ollama.library.model import Library


@pytest.fixture
def jp_asyncio_loop() -> None:
    """Take the place of a loop for each test: the browser's is running all the time."""


@pytest.fixture
def jp_server_cleanup() -> None:
    """Take the place of what needs that loop."""


@pytest.fixture(scope="session")
def lab(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server with smollm2 and models whose answers are known."""
    home = tmp_path_factory.mktemp("lab")
    models = home / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    browser_models.fill(home, Library.open(models))
    with lab_server(home, models) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for no longer than a module: its event loop is in the way of other tests'."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, lab: Server) -> Iterator[Page]:
    """An empty page of a browser that has seen nothing, in light colours."""
    use_theme(lab, "Light")
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=lab.url)
    yield context.new_page()
    context.close()


@pytest.fixture
def notebook(page: Page, lab: Server, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """A notebook that a test creates and opens."""
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    notebook = Notebook(page, lab, f"{name}.ipynb")
    yield notebook
    notebook.end_kernel()
