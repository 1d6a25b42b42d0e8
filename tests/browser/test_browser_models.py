"""The widgets that manage models, in JupyterLab."""

from __future__ import annotations

from jupyterlab_page import Notebook
from playwright.sync_api import expect

MANAGER = "from jupyter_ollama_magics.widgets import ModelManager\n\nModelManager()"


def test_models_are_loaded_unloaded_and_deleted(notebook: Notebook) -> None:
    notebook.create("%load_ext jupyter_ollama\n%ollama cp coder extra", MANAGER)
    notebook.run(0)
    notebook.run(1)
    manager = notebook.output(1)
    named = manager.get_by_title
    named("Load extra:latest", exact=True).click()
    named("Take from memory extra:latest").click()
    expect(named("Load extra:latest", exact=True)).to_be_visible()
    named("Delete extra:latest", exact=True).click()
    named("Do not delete extra:latest").click()
    named("Delete extra:latest", exact=True).click()
    named("Really delete extra:latest").click()
    names = manager.locator(".widget-label")
    expect(names.get_by_text("extra", exact=True)).to_have_count(0)
    expect(names.filter(has_text="coder")).to_be_visible()
    # The table stays without a kernel.
    kept = manager.locator(".jp-RenderedMarkdown")
    expect(kept).to_be_hidden()
    notebook.save()
    notebook.end_kernel()
    notebook.open()
    expect(kept.locator("td").get_by_text("coder")).to_be_visible()
    expect(kept).not_to_contain_text("extra")


def test_a_failed_pull_shows_the_reason(notebook: Notebook) -> None:
    # No server listens on this port.
    name = "127.0.0.1:9/library/none"
    code = "from jupyter_ollama_magics.widgets import PullProgress\n"
    notebook.create(f"{code}PullProgress({name!r}, insecure=True)")
    notebook.run(0)
    labels = notebook.output(0).locator(".widget-label")
    expect(labels.filter(has_text=f"Pulling {name} failed: ")).to_be_visible()
