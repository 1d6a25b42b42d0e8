"""Make the pictures of the docs: JupyterLab with small models, as a browser shows it.

    python tools/docs_images.py

Needs Chromium, and the packages of the tests. The pictures go to docs/images/.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

ROOT = Path(__file__).resolve().parent.parent
for folder in ("examples", "tests", "tests/browser"):
    sys.path.insert(0, str(ROOT / folder))

import starter_models  # noqa: E402
from jupyterlab_page import (  # noqa: E402
    Notebook,
    add_lab_extension,
    chromium,
    lab_server,
    open_notebook,
    use_theme,
)
from run_notebook import Server  # noqa: E402

from jupyter_ollama.library.library import Library  # noqa: E402

IMAGES = ROOT / "docs" / "images"
WIDTH = 900
SCALE = 1.5
COLOURS = 128
CHAT = """\
from jupyter_ollama_magics.widgets import Chat

chat = Chat("smollm2", options={"temperature": 0})
chat"""
MANAGER = "from jupyter_ollama_magics.widgets import ModelManager\n\nModelManager()"
MAGIC = "%%chat smollm2 --temperature 0\nExplain in two sentences what a DataFrame is."
CELLS = ("import pandas as pd", 'frame = pd.DataFrame({"city": ["Paris", "Rome"]})\nframe')
QUESTIONS = ("What is the capital of France?", "How do I print its name in Python?")


def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder, "models")
        library = Library.open(models)
        for name in ("smollm2", "all-minilm"):
            starter_models.register(name, library)
        add_lab_extension(Path(folder))
        with lab_server(Path(folder), models) as server, chromium() as browser:
            for theme in ("Light", "Dark"):
                use_theme(server, theme)
                ending = "-dark" if theme == "Dark" else ""
                chat_magic(browser, server, f"chat-magic{ending}")
                chat_widget(browser, server, f"chat-widget{ending}")
                model_manager(browser, server, f"model-manager{ending}")
                lab_models(browser, server, f"lab-models{ending}")
                lab_chat(browser, server, f"lab-chat{ending}")


def chat_magic(browser: Browser, server: Server, name: str) -> None:
    """A cell with %%chat and its answer."""
    notebook = opened(browser, server, name, "%load_ext jupyter_ollama", MAGIC)
    notebook.run(0)
    notebook.run(1)
    notebook.output(1).locator("sub").wait_for()
    keep(notebook.cell(1), name)
    close(notebook)


def chat_widget(browser: Browser, server: Server, name: str) -> None:
    """The chat widget after two questions."""
    notebook = opened(browser, server, name, CHAT)
    notebook.run(0)
    chat = notebook.chat()
    for count, question in enumerate(QUESTIONS, 1):
        chat.get_by_label("Your question.").fill(question)
        chat.get_by_label("Your question.").press("Enter")
        expect(chat.get_by_role("button", name="Copy the answer")).to_have_count(count)
    keep(notebook.cell(0), name)
    close(notebook)


def model_manager(browser: Browser, server: Server, name: str) -> None:
    """The table of models."""
    notebook = opened(browser, server, name, MANAGER)
    notebook.run(0)
    notebook.output(0).locator(".widget-label", has_text="all-minilm").wait_for()
    keep(notebook.cell(0), name)
    close(notebook)


def lab_models(browser: Browser, server: Server, name: str) -> None:
    """The panel of models, with the details of one that is loaded."""
    unload(server)
    page = lab_page(browser, server)
    page.locator('[data-id="jupyter-ollama-models"]').click()
    panel = page.locator("#jupyter-ollama-models")
    panel.get_by_role("button", name="Details of smollm2:latest").click()
    panel.get_by_role("button", name="Load smollm2:latest", exact=True).click()
    page.locator(".jpo-status-button", has_text="smollm2").wait_for()
    keep(page, name)
    page.context.close()


def lab_chat(browser: Browser, server: Server, name: str) -> None:
    """The chat beside a notebook."""
    page = lab_page(browser, server)
    # The other side shows the files of the tool.
    page.locator('[data-id="jupyter-ollama-models"]').click()
    page.locator('[data-id="jupyter-ollama-chat"]').click()
    chat = page.locator("#jupyter-ollama-chat")
    chat.get_by_role("combobox", name="Model").select_option("smollm2:latest")
    chat.get_by_role("textbox", name="Your question").fill(QUESTIONS[0])
    chat.get_by_role("textbox", name="Your question").press("Enter")
    chat.get_by_role("button", name="Regenerate").wait_for()
    keep(page, name)
    page.context.close()


def unload(server: Server) -> None:
    """Unload the model."""
    server.call("POST", "/ollama/api/generate", {"model": "smollm2", "keep_alive": 0})


def lab_page(browser: Browser, server: Server) -> Page:
    """Return JupyterLab with a notebook that is ready to run, on a page of its own."""
    view = {"width": 1100, "height": 640}
    page = browser.new_context(viewport=view, device_scale_factor=SCALE).new_page()
    open_notebook(page, server, "frame.ipynb", *CELLS)
    return page


def opened(browser: Browser, server: Server, name: str, *cells: str) -> Notebook:
    """Return a new notebook on a page of its own."""
    view = {"width": WIDTH, "height": 900}
    page = browser.new_context(viewport=view, device_scale_factor=SCALE).new_page()
    notebook = Notebook(page, server, f"{name}.ipynb")
    notebook.create(*cells)
    return notebook


def close(notebook: Notebook) -> None:
    """End the notebook and its page."""
    notebook.end_kernel()
    notebook.page.context.close()


def keep(node: Locator | Page, name: str) -> None:
    """Write a picture of a page or a part of it, in few colours: the file stays small."""
    picture = Image.open(io.BytesIO(node.screenshot())).convert("RGB")
    small = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
