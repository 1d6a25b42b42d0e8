"""The magics as a person sees them: typed into JupyterLab, in a browser."""

from __future__ import annotations

from jupyterlab_page import Notebook
from playwright.sync_api import expect


def test_text_grows_and_stops(notebook: Notebook) -> None:
    # Without the token that ends an answer it is a long one.
    begin = "%load_ext jupyter_ollama\nbias = '{\"2\": -100}'"
    notebook.create(begin, "", "print(6 * 7, _.done_reason)")
    notebook.run(0)
    options = "--num-predict -1 -p logit_bias={bias}"
    notebook.type(1, f"%%chat smollm2 {options}\nTell me a very long story.")
    notebook.page.keyboard.press("Shift+Enter")
    shown = notebook.output(1).locator(".jp-RenderedMarkdown")
    shown.wait_for()
    lengths = {len(shown.inner_text())}
    while len(lengths) < 4:
        lengths.add(len(shown.inner_text()))
    notebook.page.locator('[data-command="notebook:interrupt-kernel"]').first.click()
    expect(shown).to_contain_text("interrupted")
    assert len(shown.inner_text()) >= max(lengths)
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text("42 interrupted")


def test_tables_of_models(notebook: Notebook) -> None:
    notebook.create("%load_ext jupyter_ollama\n%ollama list", "%ollama show smollm2")
    notebook.run(0)
    table = notebook.output(0).locator("table")
    expect(table).to_contain_text("smollm2")
    expect(table).to_contain_text("MB")
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text("context length")
