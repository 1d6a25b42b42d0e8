"""Make the pictures of the docs: JupyterLab with small models, as a browser shows it.

    python tools/docs_images.py                # all
    python tools/docs_images.py demo_gif       # some of them, by the names of their functions

Needs Chromium, and the packages of the tests. The pictures go to docs/images/.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from pathlib import Path

from page_film import Film
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
    open_lab,
    open_notebook,
    use_theme,
)
from run_notebook import Server  # noqa: E402

from jupyter_ollama.library.library import Library  # noqa: E402

IMAGES = ROOT / "docs" / "images"
WIDTH = 900
VIEW = {"width": 1100, "height": 640}
SCALE = 1.5
COLOURS = 128
CHAT = """\
from jupyter_ollama_magics.widgets import Chat

chat = Chat("smollm2", options={"temperature": 0})
chat"""
MANAGER = "from jupyter_ollama_magics.widgets import ModelManager\n\nModelManager()"
MAGIC = "%%chat smollm2 --temperature 0\nWhat is machine learning? Answer in one sentence."
CELLS = ("import pandas as pd", 'frame = pd.DataFrame({"city": ["Paris", "Rome"]})\nframe')
ROWS = (
    "%load_ext jupyter_ollama\nimport pandas as pd",
    """\
reviews = pd.DataFrame({"text": [
    "Great desk, easy to build and very solid. Five stars.",
    "The chair broke after two days. Terrible, one star.",
    "Nice lamp, happy with it. Four stars.",
]})
question = "How many stars does the review give? Answer with the number."
stars = reviews.text.ollama.classify([1, 2, 3, 4, 5], model="smollm2", system=question)
reviews["stars"] = stars
reviews.ollama.similar("a piece of furniture to work at", "text", k=3, model="all-minilm")""",
)
PROMPT = "%%chat smollm2\nWrite a **short** text about the cities in {frame}."
FILM = ("%load_ext jupyter_ollama", MAGIC)
ASKED = "What is a neural network? Answer in one sentence."
ENDED = "tokens/s"
"""In the line below an answer that is complete."""
QUESTIONS = ("What is the capital of France?", "How do I print its name in Python?")


def main() -> None:
    """Make the pictures named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [picture.__name__ for picture in (*PICTURES, demo_gif)]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names)}")
    chosen = parser.parse_args().names or names
    if unknown := sorted({*chosen} - {*names}):
        parser.error(f"no such picture: {', '.join(unknown)}")
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
                for picture in PICTURES:
                    if picture.__name__ in chosen:
                        picture(browser, server, picture.__name__.replace("_", "-") + ending)
                if demo_gif.__name__ in chosen:
                    demo_gif(browser, server, f"demo{ending}")


def chat_magic(browser: Browser, server: Server, name: str) -> None:
    """A cell with %%chat and its answer."""
    notebook = opened(browser, server, name, "%load_ext jupyter_ollama", MAGIC)
    notebook.run(0)
    notebook.run(1)
    notebook.output(1).locator("sub", has_text=ENDED).wait_for()
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


def lab_conversations(browser: Browser, server: Server, name: str) -> None:
    """The list of conversations of the chat."""
    page = lab_page(browser, server)
    page.locator('[data-id="jupyter-ollama-models"]').click()
    page.locator('[data-id="jupyter-ollama-chat"]').click()
    chat = page.locator("#jupyter-ollama-chat")
    for question in QUESTIONS:
        if (new := chat.get_by_role("button", name="New chat")).is_visible():
            new.click()
        chat.get_by_role("combobox", name="Model").select_option("smollm2:latest")
        chat.get_by_role("textbox", name="Your question").fill(question)
        chat.get_by_role("textbox", name="Your question").press("Enter")
        chat.get_by_role("button", name="Regenerate").wait_for()
    chat.get_by_role("button", name="Conversations").click()
    keep(page, name)
    page.context.close()


def dataframe(browser: Browser, server: Server, name: str) -> None:
    """A cell that asks about every row of a column, and its table."""
    notebook = opened(browser, server, name, *ROWS)
    for number in range(len(ROWS)):
        notebook.run(number)
    notebook.output(len(ROWS) - 1).locator("table").wait_for()
    keep(notebook.cell(len(ROWS) - 1), name)
    close(notebook)


def demo_gif(browser: Browser, server: Server, name: str) -> None:
    """A film: %%chat streams into a cell, then the panel beside the notebook answers."""
    view = {"width": 1000, "height": 560}
    page = browser.new_context(viewport=view).new_page()
    cells = open_notebook(page, server, f"{name}.ipynb", *FILM, "")
    film = Film(page)
    page.locator('[data-id="jupyter-ollama-models"]').click()
    page.locator('[data-id="jupyter-ollama-models"]').click()
    cells.nth(0).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    page.get_by_text(re.compile(r"Python .*\| Idle")).wait_for()
    film.shoot(10)
    page.keyboard.press("Shift+Enter")
    film.until(cells.nth(1).locator("sub", has_text=ENDED), hold=18)
    page.locator('[data-id="jupyter-ollama-chat"]').click()
    chat = page.locator("#jupyter-ollama-chat")
    chat.get_by_role("combobox", name="Model").select_option("smollm2:latest")
    box = chat.get_by_role("textbox", name="Your question")
    box.click()
    for word in re.findall(r"\S+\s?", ASKED):
        page.keyboard.type(word)
        film.shoot(1)
    film.shoot(3)
    page.keyboard.press("Enter")
    film.until(chat.get_by_role("button", name="Regenerate"), hold=25)
    film.write(IMAGES / f"{name}.gif")
    page.context.close()
    server.call("DELETE", f"/api/contents/{name}.ipynb")


def lab_prompt(browser: Browser, server: Server, name: str) -> None:
    """A prompt, and the value of its variable under the pointer."""
    notebook = opened(browser, server, name, CELLS[0] + "\n" + CELLS[1], PROMPT)
    notebook.page.set_viewport_size({"width": WIDTH, "height": 420})
    notebook.run(0)
    notebook.cell(1).locator(".jpo-prompt-field").hover()
    notebook.page.locator(".jpo-prompt-tooltip").wait_for()
    keep(notebook.page, name)
    close(notebook)


def lab_start(browser: Browser, server: Server, name: str) -> None:
    """The launcher, and the chat where no model is installed."""
    with tempfile.TemporaryDirectory() as folder, lab_server(Path(folder), Path(folder)) as empty:
        add_lab_extension(Path(folder))
        use_theme(empty, "Dark" if name.endswith("dark") else "Light")
        page = browser.new_context(viewport=VIEW, device_scale_factor=SCALE).new_page()
        open_lab(page, empty)
        page.locator(".jp-LauncherCard", has_text="Chat").click()
        page.locator("#jupyter-ollama-chat .jpo-starters").wait_for()
        keep(page, name)
        page.context.close()


def unload(server: Server) -> None:
    """Unload the models."""
    for model in server.call("GET", "/ollama/api/ps")["models"]:
        body = {"model": model["name"], "keep_alive": 0}
        server.call("POST", "/ollama/api/generate", body)


def lab_page(browser: Browser, server: Server) -> Page:
    """Return JupyterLab with a notebook that is ready to run, on a page of its own."""
    page = browser.new_context(viewport=VIEW, device_scale_factor=SCALE).new_page()
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


PICTURES = (
    chat_magic,
    dataframe,
    chat_widget,
    model_manager,
    lab_models,
    lab_chat,
    lab_conversations,
    lab_prompt,
    lab_start,
)

if __name__ == "__main__":
    main()
