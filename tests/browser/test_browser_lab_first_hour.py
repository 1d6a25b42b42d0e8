"""The first hour in JupyterLab: the launcher, the quickstart, and cells that run at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_models import FILLED
from jupyterlab_page import open_lab, open_notebook
from playwright.sync_api import Locator, Page, expect
from run_notebook import Server

pytestmark = pytest.mark.usefixtures("quiet")
SETTINGS = "/lab/api/settings/jupyter-ollama:client"
FOLDER = "quickstart here"


@pytest.fixture
def folder(lab: Server) -> Iterator[str]:
    """A folder of the server that has a file with the name of the quickstart.

    The default model gives short answers.
    """
    brief = {"model": "brief", "from": "smollm2", "parameters": {"num_predict": 30}}
    lab.call("POST", "/ollama/api/create", {**brief, "stream": False})
    lab.call("PUT", f"/api/contents/{FOLDER.replace(' ', '%20')}", {"type": "directory"})
    path = f"/api/contents/{FOLDER.replace(' ', '%20')}/ollama-quickstart.ipynb"
    lab.call("PUT", path, {"type": "file", "format": "text", "content": "mine"})
    lab.call("PUT", SETTINGS, {"raw": '{"defaultModel": "brief:latest"}'})
    yield FOLDER
    lab.call("PUT", SETTINGS, {"raw": "{}"})
    end_kernels(lab)
    lab.call("DELETE", "/ollama/api/delete", {"model": "brief"})


def end_kernels(server: Server) -> None:
    """Shut down all kernels."""
    for session in server.call("GET", "/api/sessions"):
        server.call("DELETE", f"/api/sessions/{session['id']}")


def section(page: Page) -> Locator:
    """Return the launcher's section of this extension."""
    return page.locator(".jp-Launcher-section", has_text="Ollama")


def test_the_launcher_has_a_section(jupyterlab: Page) -> None:
    cards = section(jupyterlab).locator(".jp-LauncherCard")
    expect(cards).to_have_text(["Chat", "Models", "Quickstart notebook"])
    titles = jupyterlab.locator(".jp-Launcher-sectionTitle").all_inner_texts()
    assert titles.index("Ollama") < titles.index("Other")
    cards.nth(1).click()
    expect(jupyterlab.locator("#jupyter-ollama-models")).to_be_visible()
    cards.nth(0).click()
    expect(jupyterlab.get_by_role("textbox", name="Your question")).to_be_focused()


def test_the_quickstart_is_a_new_file_that_runs(page: Page, lab: Server, folder: str) -> None:
    open_lab(page, lab)
    page.locator(".jp-DirListing-item", has_text=folder).dblclick()
    expect(page.locator(".jp-Launcher-cwd")).to_have_text(folder)
    section(page).locator(".jp-LauncherCard", has_text="Quickstart").click()
    tab = page.locator(".lm-DockPanel .lm-TabBar-tabLabel", has_text="ollama-quickstart-2.ipynb")
    expect(tab).to_be_visible()
    path = f"/api/contents/{folder.replace(' ', '%20')}/ollama-quickstart.ipynb?type=file"
    assert lab.call("GET", path)["content"] == "mine"
    page.get_by_text(re.compile(r"Python .*\| Idle")).wait_for()
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    last = page.locator(".jp-Notebook .jp-CodeCell").last
    expect(last.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"))
    expect(
        page.locator(".jp-Notebook .jp-OutputArea-output[data-mime-type$=stderr]")
    ).to_have_count(0)
    expect(page.locator(".jp-Notebook .jp-RenderedMarkdown", has_text="tokens")).to_have_count(2)


def open_models(page: Page) -> Locator:
    """Show the panel of models."""
    page.locator('[data-id="jupyter-ollama-models"]').click()
    return page.locator("#jupyter-ollama-models")


def sources(cells: Locator) -> list[str]:
    """Return the sources of cells."""
    return cells.locator(".cm-content").all_inner_texts()


def test_an_inserted_cell_runs_in_a_new_kernel(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "lab-insert.ipynb", "")
    panel = open_models(page)
    panel.get_by_role("button", name="Insert a cell for filler:latest").click()
    expect(cells).to_have_count(2)
    question = "Introduce yourself in one sentence."
    expect(cells.nth(1).locator(".cm-content")).to_be_focused()
    assert sources(cells) == [
        "%load_ext jupyter_ollama_magics",
        f"%%chat filler:latest\n{question}",
    ]
    # The question is selected, so that typing replaces it.
    page.keyboard.type("SAY")
    page.keyboard.press("Control+Enter")
    expect(cells.nth(1).locator(".jp-RenderedMarkdown")).to_contain_text(FILLED)
    # The kernel has the magics now.
    panel.get_by_role("button", name="Insert a cell for all-minilm:latest").click()
    expect(cells).to_have_count(3)
    assert "%embed texts --model all-minilm" in sources(cells)[2]
    page.keyboard.press("Control+Enter")
    expect(cells.nth(2).locator(".jp-OutputArea")).to_contain_text("array([[")
    end_kernels(lab)


def test_a_cell_that_loads_the_magics_is_used_again(page: Page, lab: Server) -> None:
    load = "%load_ext jupyter_ollama"
    cells = open_notebook(page, lab, "lab-insert-again.ipynb", load, "1")
    cells.nth(1).locator(".cm-content").click()
    open_models(page).get_by_role("button", name="Insert a cell for filler:latest").click()
    expect(cells).to_have_count(3)
    assert sources(cells)[:2] == [load, "1"]
    expect(cells.nth(0).locator(".jp-InputPrompt")).to_have_text("[1]:")
    end_kernels(lab)


@pytest.fixture
def offers(lab: Server, lab_home: Path) -> Iterator[Path]:
    """Let the panel offer autoload again; the configuration that accepting it writes."""
    config = lab_home / "ipython" / "profile_default" / "ipython_config.py"
    lab.call("PUT", SETTINGS, {"raw": "{}"})
    yield config
    lab.call("PUT", SETTINGS, {"raw": "{}"})
    config.unlink(missing_ok=True)
    end_kernels(lab)


def test_autoload_is_offered_where_a_cell_needs_it(page: Page, lab: Server, offers: Path) -> None:
    cells = open_notebook(page, lab, "lab-autoload.ipynb", "%%chat filler\nSAY")
    cells.nth(0).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(cells.nth(0).locator(".jp-OutputArea")).to_contain_text("not found")
    toast = page.locator(".Toastify__toast", has_text="in every new kernel")
    toast.get_by_role("button", name="Always load").click()
    expect(page.get_by_text("New kernels load the magics by themselves.")).to_be_visible()
    assert "jupyter_ollama_magics" in offers.read_text()
    # The kernel at hand has the magics, too.
    cells.nth(0).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(cells.nth(0).locator(".jp-RenderedMarkdown")).to_contain_text(FILLED)
    end_kernels(lab)
    cells = open_notebook(page, lab, "lab-autoload.ipynb", "%%chat filler\nSAY")
    cells.nth(0).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(cells.nth(0).locator(".jp-RenderedMarkdown")).to_contain_text(FILLED)


def test_autoload_is_not_offered_again(page: Page, lab: Server, offers: Path) -> None:
    open_notebook(page, lab, "lab-offer.ipynb", "")
    panel = open_models(page)
    panel.get_by_role("button", name="Insert a cell for filler:latest").click()
    offer = panel.get_by_role("group", name="Load the magics")
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        offer.get_by_role("button", name="No, thanks").click()
    expect(offer).to_have_count(0)
    assert not offers.exists()
    end_kernels(lab)
    cells = open_notebook(page, lab, "lab-offer.ipynb", "")
    open_models(page).get_by_role("button", name="Insert a cell for filler:latest").click()
    expect(cells).to_have_count(2)
    expect(cells.nth(0).locator(".jp-InputPrompt")).to_have_text("[1]:")
    expect(cells.nth(1).locator(".cm-content")).to_be_focused()
    page.keyboard.type("SAY")
    page.keyboard.press("Control+Enter")
    expect(cells.nth(1).locator(".jp-RenderedMarkdown")).to_contain_text(FILLED)
    expect(offer).to_have_count(0)
