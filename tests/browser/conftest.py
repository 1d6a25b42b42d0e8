"""JupyterLab with the extension, in Debian's Chromium."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import browser_models
import pytest
from jupyterlab_page import (
    Notebook,
    add_lab_extension,
    chromium,
    lab_server,
    open_lab,
    use_theme,
)
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
    add_lab_extension(home)
    with lab_server(home, models) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for no longer than a module: its event loop is in the way of other tests'."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, lab: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty page of a browser that has seen nothing, in light colours.

    How it looks at the end of a test is kept in .pytest_cache/d/pictures.
    """
    use_theme(lab, "Light")
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=lab.url)
    page = context.new_page()
    yield page
    name = request.node.name.removeprefix("test_")
    page.screenshot(path=request.config.cache.mkdir("pictures") / f"{name}.png")
    context.close()


@pytest.fixture
def quiet(page: Page) -> Iterator[None]:
    """Fail a test whose page writes errors to the browser's console."""
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield
    assert said == []


@pytest.fixture
def jupyterlab(page: Page, lab: Server) -> Page:
    """JupyterLab with nothing open but its launcher, and no model loaded."""
    for model in lab.call("GET", "/ollama/api/ps")["models"]:
        lab.call("POST", "/ollama/api/generate", {"model": model["name"], "keep_alive": 0})
    open_lab(page, lab)
    return page


@pytest.fixture
def notebook(page: Page, lab: Server, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """A notebook that a test creates and opens."""
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    notebook = Notebook(page, lab, f"{name}.ipynb")
    yield notebook
    notebook.end_kernel()
