"""A notebook in JupyterLab, in a real browser, for tests and for the images of the docs."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from run_notebook import Server, jupyter_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    "apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"},
    "completer-extension:manager": {"autoCompletion": False},
}
CONFIG = {name: {"expose_app_in_browser": True} for name in ("LabApp", "JupyterNotebookApp")}
"""Tests read the state of the application in the page."""
FOLDERS = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
PATIENCE = 60_000
"""Milliseconds to wait for an expected state."""


def add_lab_extension(home: Path) -> None:
    """Link the extension that is built in this checkout into the data folder of a server."""
    built = Path(__file__).parents[2] / "jupyter_ollama" / "labextension"
    assert (built / "package.json").exists(), "build it first: make labextension"
    place = home / "data_dir" / "labextensions"
    place.mkdir(parents=True)
    (place / "jupyter-ollama").symlink_to(built)


@contextmanager
def lab_server(home: Path, models: Path, **traits: Any) -> Iterator[Server]:
    """Start a Jupyter server with JupyterLab, settings and runtime files of its own.

    ``traits`` are those of OllamaServer.
    """
    variables = {f"JUPYTER_{name}": str(home / name.lower()) for name in FOLDERS}
    variables |= {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "OLLAMA_MODELS": str(models),
        # An installed copy of the extension would take precedence.
        "JUPYTER_PREFER_ENV_PATH": "0",
    }
    config = home / "config_dir" / "jupyter_server_config.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps({**CONFIG, "OllamaServer": traits}))
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        with jupyter_server(home) as server:
            for name, settings in SETTINGS.items():
                set_up(server, name, settings)
            yield server
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def set_up(server: Server, name: str, settings: dict[str, Any]) -> None:
    """Change the settings of a plugin of JupyterLab."""
    raw = {"raw": json.dumps(settings)}
    server.call("PUT", f"/lab/api/settings/@jupyterlab/{name}", raw)


def use_theme(server: Server, theme: str) -> None:
    """Set the theme of pages that are opened later: "Light" or "Dark"."""
    set_up(server, "apputils-extension:themes", {"theme": f"JupyterLab {theme}"})


def wait_until(page: Page, happened: Callable[[], bool]) -> None:
    """Wait until a condition holds, while the page processes its events."""
    end = time.monotonic() + PATIENCE / 1000
    while not happened():
        assert time.monotonic() < end, "it has not happened"
        page.wait_for_timeout(50)


def requests_of(server: Server) -> list[str]:
    """Return the ids of the model requests that are queued or running."""
    found = server.call("GET", "/ollama/api/requests")["requests"]
    return [request["id"] for request in found]


def open_lab(page: Page, server: Server, path: str = "") -> None:
    """Open JupyterLab with its panels, and a file if one is named."""
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    file = f"/tree/{path}" if path else ""
    page.goto(f"{server.url}/lab{file}?token={server.token}&reset")
    page.locator("#jupyterlab-splash").wait_for(state="detached")


def reload_lab(page: Page) -> None:
    """Reload JupyterLab, and wait until its widgets are restored, which takes the focus."""
    page.reload()
    page.locator("#jupyterlab-splash").wait_for(state="detached")


def open_notebook(page: Page, server: Server, name: str, *cells: str | NotebookNode) -> Locator:
    """Open a notebook with cells, or sources of code cells, in JupyterLab; return them."""
    nodes = [nbformat.v4.new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = nbformat.v4.new_notebook(cells=nodes, metadata={"kernelspec": kernel})
    server.call("PUT", f"/api/contents/{name}", {"type": "notebook", "content": content})
    open_lab(page, server, name)
    page.get_by_text(re.compile(r"Python .*\| Idle")).wait_for()
    return page.locator(".jp-Notebook .jp-Cell")


def write_notebook(server: Server, name: str, *sources: str) -> None:
    """Write a notebook's file with code cells."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    server.call("PUT", f"/api/contents/{name}", {"type": "notebook", "content": content})


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Notebook:
    """A notebook of a server on a page. Opening it starts its kernel."""

    def __init__(self, page: Page, server: Server, name: str) -> None:
        self.page = page
        self.server = server
        self.name = name
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)

    def create(self, *sources: str) -> None:
        """Write the notebook's file with code cells and open it."""
        write_notebook(self.server, self.name, *sources)
        self.open()
        self.wait_until_idle()

    def open(self) -> None:
        """Show the notebook, without the panels around it."""
        self.page.goto(f"{self.server.url}/doc/tree/{self.name}?token={self.server.token}&reset")
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()

    def wait_until_idle(self) -> None:
        """Wait until the kernel is idle."""
        self.page.get_by_text(re.compile(r"Python .*\| Idle")).wait_for()

    def cell(self, number: int) -> Locator:
        """Return a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number: int) -> Locator:
        """Return the output area of a cell."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def run(self, number: int) -> None:
        """Press Shift and Enter in a cell."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def type(self, number: int, source: str) -> None:
        """Type into a cell, key by key."""
        self.cell(number).locator(".cm-content").click()
        for index, line in enumerate(source.split("\n")):
            if index:
                self.page.keyboard.press("Enter")
            self.page.keyboard.type(line)

    def save(self) -> dict[str, Any]:
        """Save the notebook and return the content of its file."""
        with self.page.expect_response(
            lambda response: response.request.method == "PUT" and self.name in response.url
        ):
            self.page.keyboard.press("Control+s")
        path = f"/api/contents/{self.name}?content=1"
        content: dict[str, Any] = self.server.call("GET", path)["content"]
        return content

    def end_kernel(self) -> None:
        """Shut down the notebook's kernel."""
        for session in self.server.call("GET", "/api/sessions"):
            if session["path"] == self.name:
                self.server.call("DELETE", f"/api/sessions/{session['id']}")

    def chat(self) -> Locator:
        """Return the chat widget on the page."""
        return self.page.locator(".jupyter-ollama-chat")
