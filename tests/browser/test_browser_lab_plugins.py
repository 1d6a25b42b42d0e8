"""The plugins one by one, and the extension in Notebook 7."""

from __future__ import annotations

import json
import os
from pathlib import Path

from jupyterlab_page import open_lab, write_notebook
from playwright.sync_api import Page, expect
from run_notebook import Server

PLUGINS = {
    "client",
    "status",
    "running",
    "models",
    "completer",
    "agent",
    "chat",
    "commands",
    "quickstart",
    "prompts",
}
NOTEBOOK = "lab-plugins.ipynb"


def active_plugins(page: Page) -> set[str]:
    """Return the active plugins of this project on a page."""
    page.evaluate("jupyterapp.restored")
    is_active = "name => jupyterapp.isPluginActivated(`jupyter-ollama:${name}`)"
    return {name for name in PLUGINS if page.evaluate(is_active, name)}


def errors_of(page: Page) -> list[str]:
    """Return a list to which the errors of a page are added."""
    errors: list[str] = []

    def listen(kind: str, text: str) -> None:
        if kind == "error":
            errors.append(text)

    page.on("console", lambda message: listen(message.type, message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def test_each_plugin_can_be_disabled_alone(page: Page, lab: Server) -> None:
    write_notebook(lab, NOTEBOOK, "1 / 0")
    errors = errors_of(page)
    # The file that `jupyter labextension disable --level=user` writes.
    config = Path(os.environ["JUPYTER_CONFIG_DIR"], "labconfig", "page_config.json")
    config.parent.mkdir(exist_ok=True)
    try:
        for name in sorted(PLUGINS - {"client"}):
            config.write_text(json.dumps({"disabledExtensions": {f"jupyter-ollama:{name}": True}}))
            open_lab(page, lab, NOTEBOOK)
            page.locator(".jp-Notebook .jp-Cell .cm-content").click()
            assert active_plugins(page) == PLUGINS - {name}
            assert not errors, name
        config.write_text(json.dumps({"disabledExtensions": {"jupyter-ollama:client": True}}))
        open_lab(page, lab, NOTEBOOK)
        page.locator(".jp-Notebook .jp-Cell .cm-content").click()
        # It changes editors alone.
        assert active_plugins(page) == {"prompts"}
        # JupyterLab reports the missing client for each other plugin, and no other error.
        assert all("jupyter-ollama:" in error for error in errors)
    finally:
        config.unlink()


def test_notebook_7_has_the_models_and_the_chat(page: Page, lab: Server) -> None:
    write_notebook(lab, NOTEBOOK, "1 / 0")
    errors = errors_of(page)
    page.goto(f"{lab.url}/notebooks/{NOTEBOOK}?token={lab.token}")
    page.locator(".jp-Notebook .jp-Cell .cm-content").click()
    assert active_plugins(page) == PLUGINS
    page.evaluate("jupyterapp.commands.execute('jupyter-ollama:open-models')")
    expect(page.locator("#jupyter-ollama-models").get_by_text("coder:latest")).to_be_visible()
    page.evaluate("jupyterapp.commands.execute('jupyter-ollama:open-chat')")
    chat = page.locator("#jupyter-ollama-chat")
    expect(chat.get_by_role("textbox", name="Your question")).to_be_visible()
    page.goto(f"{lab.url}/tree?token={lab.token}")
    page.locator(".jp-DirListing").wait_for()
    assert active_plugins(page) == PLUGINS
    # Notebook 7.6 has errors of its own.
    assert not [error for error in errors if "ollama" in error]
