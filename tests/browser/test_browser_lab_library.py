"""The library of models, its search, and the model lists of JupyterLab's settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jupyterlab_page import open_lab, wait_until
from playwright.sync_api import Locator, Page, Route, expect
from run_notebook import Server

pytestmark = pytest.mark.usefixtures("quiet")
CLIENT = "/lab/api/settings/jupyter-ollama:client"
COMPLETER = "/lab/api/settings/jupyter-ollama:completer"
GB = 10**9


@pytest.fixture
def settings(lab: Server) -> Iterator[None]:
    """Reset the settings after a test."""
    yield
    for path in (CLIENT, COMPLETER):
        lab.call("PUT", path, {"raw": "{}"})


def open_library(page: Page) -> Locator:
    """Show the library of the panel of models."""
    page.locator('[data-id="jupyter-ollama-models"]').click()
    panel = page.locator("#jupyter-ollama-models")
    panel.get_by_role("tab", name="Library").click()
    return panel


def test_the_library_is_searched_and_says_what_fits(jupyterlab: Page, lab: Server) -> None:
    def small(route: Route) -> None:
        cpu = {"name": "CPU", "description": "test", "is_cpu": True}
        route.fulfill(json={"devices": [{**cpu, "free": 3 * GB, "total": 8 * GB}]})

    lab.call("POST", "/ollama/api/copy", {"source": "smollm2", "destination": "gemma3:1b"})
    # The memory of the server is replaced, so that the test does not depend on this machine.
    jupyterlab.route("**/ollama/api/devices*", small)
    panel = open_library(jupyterlab)
    rows = panel.get_by_role("list", name="Models of the library").get_by_role("listitem")
    expect(panel.get_by_text("The server has 3 GB of free memory.")).to_be_visible()

    def row(name: str) -> Locator:
        return rows.filter(has=jupyterlab.get_by_text(name, exact=True))

    expect(row("gemma3:270m")).to_contain_text("needs 650 MB · fits")
    expect(row("gemma3:4b")).to_contain_text("more than is free")
    expect(row("qwen3:8b")).to_contain_text("needs 6.5 GB · more than is free")
    expect(row("gpt-oss:20b")).to_contain_text("too large for this server")
    expect(row("gemma3:1b")).to_contain_text("installed")
    expect(row("gemma3:1b").get_by_role("button")).to_have_count(0)
    field = panel.get_by_role("searchbox", name="Search, or name a model to pull")
    field.fill("gemma3 images")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("gemma3:4b")
    field.fill("hf.co/user/model")
    expect(rows).to_have_count(0)
    expect(panel.get_by_text("No model of this list matches.")).to_be_visible()
    lab.call("DELETE", "/ollama/api/delete", {"model": "gemma3:1b"})


@pytest.mark.usefixtures("settings")
def test_settings_list_the_models_and_keep_other_names(page: Page, lab: Server) -> None:
    lab.call("PUT", COMPLETER, {"raw": '{"model": "elsewhere:7b"}'})
    open_lab(page, lab)
    page.wait_for_function("jupyterapp.commands.hasCommand('settingeditor:open')")
    page.evaluate("jupyterapp.commands.execute('settingeditor:open', { query: 'Ollama' })")
    forms = page.locator(".jp-SettingsPanel")
    default = forms.get_by_role("combobox", name="Default model").first
    expect(default).to_have_value("")
    expect(default.locator("option").filter(has_text="coder:latest · ")).to_have_count(1)
    names = default.locator("option").all_inner_texts()
    assert names[0] == "Automatic: a loaded model, or the newest"
    default.select_option("coder:latest")

    def chosen() -> Any:
        return lab.call("GET", CLIENT)["settings"].get("defaultModel")

    wait_until(page, lambda: chosen() == "coder:latest")
    default.select_option("")
    wait_until(page, lambda: not chosen())
    model = forms.get_by_role("combobox", name="Model", exact=True).first
    expect(model).to_have_value("elsewhere:7b")
    options = model.locator("option")
    expect(options.filter(has_text="filler:latest")).to_contain_text("can insert")
    expect(options.filter(has_text="elsewhere")).to_have_text(
        "elsewhere:7b (not in the list of models)"
    )
    assert lab.call("GET", COMPLETER)["settings"]["model"] == "elsewhere:7b"
