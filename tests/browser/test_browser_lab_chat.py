"""The chat beside the notebook, and the commands that use models, in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from browser_models import ANSWER, THOUGHT
from chat_panel import answered, ask, open_chat
from jupyterlab_page import open_notebook, reload_lab, requests_of, wait_until
from playwright.sync_api import Locator, Page, Response, expect
from run_notebook import Server

pytestmark = pytest.mark.usefixtures("quiet")
CODE = "answer = 6 * 7  # <b>no tag</b>"
"""The code in the answer of the model "coder"."""
ACCEPT, REFUSE = "Accept all changes", "Refuse all changes"


def source(cell: Locator) -> Locator:
    """Return the source of a cell."""
    return cell.locator(".cm-content")


def use_model(server: Server, model: str) -> None:
    """Set the default model."""
    setting = {"raw": f'{{"defaultModel": "{model}"}}'}
    server.call("PUT", "/lab/api/settings/jupyter-ollama:client", setting)


def saves_chat(response: Response) -> bool:
    """Return whether the page has saved the conversation."""
    request = response.request
    saved = request.post_data or ""
    return request.method == "PUT" and "/ollama/conversations/" in request.url and ANSWER in saved


def test_cells_are_attached_and_code_is_inserted(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "lab-chat.ipynb", "print('seven')", "1")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    source(cells.first).click()
    page.keyboard.press("Control+Enter")
    expect(cells.first.locator(".jp-OutputArea")).to_contain_text("seven")
    chat = open_chat(page, "coder")
    chat.get_by_role("button", name="Error", exact=True).click()
    expect(chat.locator(".jpo-notice")).to_have_text("The cell has no error.")
    chat.get_by_role("button", name="Cell", exact=True).click()
    chat.get_by_role("button", name="Output", exact=True).click()
    expect(chat.get_by_role("button", name="Do not attach Output")).to_be_visible()
    with page.expect_request("**/ollama/api/chat*") as request:
        ask(chat, "SAY what it prints.")
    sent = request.value.post_data_json["messages"][0]["content"]
    assert sent == (
        "Cell:\n```python\nprint('seven')\n```\n\nOutput:\n```\nseven\n```\n\nSAY what it prints."
    )
    answered(chat)
    chat.get_by_role("button", name="Insert below").click()
    expect(cells).to_have_count(3)
    expect(source(cells.nth(1))).to_have_text(CODE)
    source(cells.nth(2)).click()
    chat.get_by_role("button", name="Replace cell").click()
    # The empty cell has the code once it is accepted.
    expect(cells.nth(2).locator(".jpo-diff-added-line")).to_have_text(CODE)
    cells.nth(2).get_by_role("button", name=ACCEPT).click()
    expect(chat.locator(".jpo-notice")).to_have_text("Replaced.")
    expect(source(cells.nth(2))).to_have_text(CODE)
    chat.get_by_role("button", name="Copy", exact=True).click()
    expect(chat.locator(".jpo-notice")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == CODE
    # The text of a model runs no script and fetches nothing.
    expect(chat.get_by_role("link", name="picture")).to_be_visible()
    assert not [url for url in fetched if "p.png" in url]
    assert page.evaluate("window.hacked") is None


def test_thinking_is_collapsed_and_a_reload_restores_the_chat(jupyterlab: Page) -> None:
    chat = open_chat(jupyterlab, "thinker")
    with jupyterlab.expect_response(saves_chat):
        ask(chat, "SAY")
        expect(chat.get_by_text(ANSWER)).to_be_visible()
    expect(chat.get_by_text(THOUGHT)).to_be_hidden()
    reload_lab(jupyterlab)
    expect(chat.get_by_text(ANSWER)).to_be_visible()
    chat.get_by_text("Thinking", exact=True).click()
    expect(chat.get_by_text(THOUGHT)).to_be_visible()
    expect(chat.get_by_role("combobox", name="Model")).to_have_value("thinker:latest")


def test_an_answer_is_stopped_and_its_question_edited_by_keys(
    jupyterlab: Page, lab: Server
) -> None:
    # JupyterLab sets the focus there when it has started.
    expect(jupyterlab.locator(".jp-Launcher")).to_be_focused()
    chat = open_chat(jupyterlab, "talker")
    jupyterlab.keyboard.press("Alt+Shift+c")
    expect(chat.get_by_role("textbox", name="Your question")).to_be_focused()
    jupyterlab.keyboard.type("Write a very long story about the sea.")
    jupyterlab.keyboard.press("Enter")
    expect(chat.locator(".jpo-turn-assistant p").first).not_to_be_empty()
    jupyterlab.keyboard.press("Escape")
    expect(chat.get_by_text("Stopped.")).to_be_visible()
    jupyterlab.wait_for_function("() => document.querySelector('[aria-busy=false]')")
    wait_until(jupyterlab, lambda: not requests_of(lab))
    chat.get_by_role("combobox", name="Model").select_option("thinker:latest")
    chat.get_by_role("button", name="Regenerate").press("Enter")
    expect(chat.get_by_role("article", name="thinker:latest")).to_have_count(1)
    answered(chat)
    chat.get_by_role("button", name="Edit", exact=True).press("Enter")
    expect(chat.get_by_role("textbox", name="Edit the question")).to_be_focused()
    jupyterlab.keyboard.press("Control+a")
    jupyterlab.keyboard.type("SAY it")
    jupyterlab.keyboard.press("Enter")
    expect(chat.locator(".jpo-turn-user")).to_have_text("YouSAY it")
    expect(chat.get_by_text(ANSWER)).to_be_visible()
    expect(chat.locator(".jpo-turn")).to_have_count(2)


def test_a_load_is_shown_with_its_size_and_counts_the_seconds(
    jupyterlab: Page, held_loads: Callable[[], AbstractContextManager[None]]
) -> None:
    chat = open_chat(jupyterlab, "thinker")
    loading = chat.get_by_text(re.compile(r"^loading thinker, \d+ [kM]B…( \d+ s)?$"))
    with held_loads():
        ask(chat, "SAY")
        expect(loading).to_be_visible()
        seconds = chat.get_by_text(re.compile(r"^ ?\d+ s$"))
        expect(seconds).to_be_visible()
        first = seconds.inner_text()
        expect(seconds).not_to_have_text(first)
        assert read_seconds(seconds.inner_text()) > read_seconds(first) >= 1
    expect(chat.get_by_text(ANSWER)).to_be_visible()
    expect(chat.get_by_text("loading")).to_have_count(0)


def read_seconds(text: str) -> int:
    """Return the displayed number of seconds."""
    return int(text.removesuffix(" s"))


def test_a_conversation_is_saved_in_both_forms(jupyterlab: Page, lab: Server) -> None:
    chat = open_chat(jupyterlab, "coder")
    ask(chat, "SAY")
    answered(chat)
    chat.get_by_role("button", name="Save as notebook").click()
    cells = jupyterlab.locator(".jp-NotebookPanel .jp-CodeCell")
    expect(source(cells.first)).to_have_text(CODE)
    expect(jupyterlab.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    chat.get_by_role("button", name="Save as markdown").click()
    editor = jupyterlab.locator(".jp-FileEditor .cm-content")
    expect(editor).to_contain_text("## coder:latest")
    expect(editor).to_contain_text("[picture](http://127.0.0.1:9/p.png)")
    expect(editor).not_to_contain_text("![picture]")
    chat.get_by_role("button", name="New chat").click()
    expect(chat.locator(".jpo-turn")).to_have_count(0)
    chat.get_by_role("button", name="Restore the last conversation").click()
    expect(chat.locator(".jpo-turn")).to_have_count(2)


def test_an_error_is_explained_and_a_fix_accepted(page: Page, lab: Server) -> None:
    use_model(lab, "coder:latest")
    cells = open_notebook(page, lab, "lab-fix.ipynb", "zero = 0", "SAY = 1 / zero")
    broken = source(cells.nth(1))
    source(cells.first).click()
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Control+Enter")
    expect(cells.nth(1).locator(".jp-OutputArea")).to_contain_text("ZeroDivisionError")
    toolbar = page.locator(".jp-cell-toolbar")
    expect(toolbar.locator('[data-command="jupyter-ollama:fix-cell"]')).to_be_visible()
    toolbar.locator('[data-command="jupyter-ollama:explain-error"]').click()
    chat = page.locator("#jupyter-ollama-chat")
    expect(chat.locator(".jpo-question", has_text="Explain the error.")).to_be_visible()
    answered(chat)
    chat.locator("summary", has_text="Error").click()
    expect(chat.locator("details", has_text="Error")).to_contain_text("ZeroDivisionError")
    broken.click()
    accept = cells.nth(1).get_by_role("button", name=ACCEPT)
    with page.expect_request("**/ollama/api/chat*") as request:
        page.keyboard.press("Alt+Shift+f")
    sent: dict[str, Any] = request.value.post_data_json
    assert sent["messages"][0]["content"].startswith("Cells before:\n```python\nzero = 0\n```")
    expect(accept).to_be_visible()
    expect(broken.locator(".jpo-diff-removed")).to_have_text("SAY = 1 / zero")
    expect(broken.locator(".jpo-diff-added-line")).to_have_text(CODE)
    cells.nth(1).get_by_role("button", name=REFUSE).click()
    expect(broken).to_have_text("SAY = 1 / zero")
    broken.click()
    page.keyboard.press("Alt+Shift+f")
    expect(accept).to_be_visible()
    page.keyboard.press("Alt+Shift+y")
    expect(broken).to_have_text(CODE)
    page.keyboard.press("Control+z")
    expect(broken).to_have_text("SAY = 1 / zero")
    use_model(lab, "")


def test_a_selection_is_explained_and_a_cell_documented(
    page: Page, lab: Server, held_loads: Callable[[], AbstractContextManager[None]]
) -> None:
    use_model(lab, "talker:latest")
    cells = open_notebook(page, lab, "lab-document.ipynb", "x = 1\ny = 2")
    source(cells.first).click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Shift+Home")
    page.keyboard.press("Alt+Shift+e")
    chat = page.locator("#jupyter-ollama-chat")
    chat.locator("summary", has_text="Cell").click()
    expect(chat.locator("details pre")).to_have_text("y = 2")
    chat.get_by_role("button", name="Stop").click()
    lab.call("POST", "/ollama/api/generate", {"model": "talker", "keep_alive": 0})
    bar = cells.first.locator(".jpo-proposal-bar")
    with held_loads():
        source(cells.first).click(button="right")
        page.get_by_role("menuitem", name="Document Cell").click()
        expect(bar).to_contain_text(re.compile(r"loading talker, \d+ MB…"))
    expect(bar).to_contain_text("talker:latest is writing…")
    # An incomplete proposal cannot be accepted, and stopping it ends the request.
    expect(bar.get_by_role("button", name=ACCEPT)).to_have_count(0)
    bar.get_by_role("button", name="Stop and refuse").click()
    wait_until(page, lambda: not requests_of(lab))
    expect(source(cells.first)).to_contain_text("y = 2")
    use_model(lab, "")
