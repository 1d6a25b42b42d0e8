"""The magics in JupyterLab, typed in a browser."""

from __future__ import annotations

from jupyterlab_page import Notebook, wait_until
from playwright.sync_api import expect


def test_text_grows_and_stops(notebook: Notebook) -> None:
    notebook.create("%load_ext jupyter_ollama", "", "print(6 * 7, _.done_reason)")
    notebook.run(0)
    notebook.type(1, "%%chat talker\nTell me a very long story.")
    notebook.page.keyboard.press("Shift+Enter")
    shown = notebook.output(1).locator(".jp-RenderedMarkdown")
    shown.wait_for()
    lengths: set[int] = set()

    def has_grown() -> bool:
        text = shown.inner_text()
        if "…" not in text:  # else it shows the progress before the first text
            lengths.add(len(text))
        return len(lengths) >= 4

    wait_until(notebook.page, has_grown)
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
