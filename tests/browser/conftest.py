"""JupyterLab with the extension, in Debian's Chromium."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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

from jupyter_ollama.library.library import Library

WAIT_TO_LOAD = """\
import os, sys, time
while "jupyter_ollama.engine.runner" in sys.orig_argv and os.path.exists({!r}):
    time.sleep(0.02)
"""
"""The startup code of each Python process of the server: runners wait while a file exists."""


@pytest.fixture
def jp_asyncio_loop() -> None:
    """Replace the event loop of each test: the browser's loop is always running."""


@pytest.fixture
def jp_server_cleanup() -> None:
    """Replace the cleanup that needs that loop."""


@pytest.fixture(scope="session")
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server's files."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def lab(ollama_store: Path, lab_home: Path) -> Iterator[Server]:
    """A Jupyter server with smollm2 and models whose answers are known."""
    home = lab_home
    models = home / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    browser_models.fill(home, Library.open(models))
    add_lab_extension(home)
    site = home / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WAIT_TO_LOAD.format(str(site / "hold")))
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        # A spare runner has already run the code that has loads wait.
        with lab_server(home, models, spare_runner_seconds=0) as server:
            yield server


@pytest.fixture
def held_loads(lab_home: Path) -> Callable[[], AbstractContextManager[None]]:
    """A context in which the server's runners start no load."""

    @contextmanager
    def held() -> Iterator[None]:
        hold = lab_home / "site" / "hold"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    return held


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one module: its event loop conflicts with those of other tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, lab: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty page of a new browser context, in the light theme.

    A screenshot at the end of a test is saved in .pytest_cache/d/pictures.
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
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield
    assert errors == []


@pytest.fixture
def jupyterlab(page: Page, lab: Server) -> Page:
    """JupyterLab with only its launcher open, and no model loaded."""
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
