"""Several conversations in the chat panel, their settings, files, errors and figures."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser_models import ANSWER
from chat_panel import answered, ask, delete_all, open_chat, show_list
from image_files import noise, saved
from jupyterlab_page import open_lab, open_notebook, reload_lab
from playwright.sync_api import Locator, Page, Response, Route, expect
from run_notebook import Server

USAGE = re.compile(
    r"^[\d,]+\stokens\sread(,\s[\d,]+\sof\sthem\scached)?\s\S\s\d+\swritten"
    r"\s\S\s[\d.,]+\stokens/s\s\S\sfirst\safter\s[\d.]+\ss$"
)


def saves(response: Response) -> bool:
    """Return whether the page has saved a conversation."""
    return response.request.method == "PUT" and "/ollama/conversations/" in response.url


def ask_and_save(page: Page, chat: Locator, text: str) -> None:
    """Ask, and wait until the answer is saved."""

    def has_answer(response: Response) -> bool:
        body = response.request.post_data or ""
        return saves(response) and json.dumps(text) in body and '"usage"' in body

    with page.expect_response(has_answer):
        ask(chat, text)
        answered(chat)


def test_conversations_are_found_renamed_restored_and_exported(
    jupyterlab: Page, lab: Server, quiet: None
) -> None:
    chat = open_chat(jupyterlab, "thinker")
    delete_all(chat)
    ask_and_save(jupyterlab, chat, "SAY which fish swim in lakes")
    chat.get_by_role("button", name="New chat").click()
    open_chat(jupyterlab, "coder")
    ask_and_save(jupyterlab, chat, "SAY something else")
    rows = show_list(chat)
    expect(rows.locator(".jpo-name")).to_have_text(
        ["SAY something else", "SAY which fish swim in lakes"]
    )
    search = chat.get_by_role("searchbox")
    expect(search).to_be_focused()
    jupyterlab.keyboard.type("is done")
    expect(rows.locator(".jpo-name")).to_have_text(["SAY which fish swim in lakes"])
    expect(chat.get_by_role("status").first).to_have_text("1 conversation found")
    jupyterlab.keyboard.press("ArrowDown")
    jupyterlab.keyboard.press("F2")
    jupyterlab.keyboard.type("Fish")
    jupyterlab.keyboard.press("Enter")
    expect(rows.get_by_role("button", name="Fish", exact=False).first).to_be_focused()
    jupyterlab.keyboard.press("Delete")
    expect(rows).to_have_count(0)
    expect(search).to_be_focused()
    chat.get_by_role("button", name="Undo").click()
    expect(rows).to_have_count(1)
    jupyterlab.keyboard.press("ArrowDown")
    with jupyterlab.expect_response(saves):
        jupyterlab.keyboard.press("Enter")
    expect(chat.get_by_text(ANSWER)).to_be_visible()
    expect(chat.get_by_role("combobox", name="Model")).to_have_value("thinker:latest")
    reload_lab(jupyterlab)
    expect(chat.locator(".jpo-title")).to_have_text("Fish")
    expect(chat.get_by_text(ANSWER)).to_be_visible()
    chat.locator(".jpo-title").click()
    with jupyterlab.expect_response(saves):
        jupyterlab.keyboard.type("Carps")
        jupyterlab.keyboard.press("Enter")
    expect(chat.locator(".jpo-title")).to_have_text("Carps")
    with jupyterlab.expect_response(
        lambda response: response.request.method == "PUT" and "/api/contents/" in response.url
    ) as written:
        chat.get_by_role("button", name="Save as JSON").click()
    path = written.value.json()["path"]
    saved = json.loads(lab.call("GET", f"/api/contents/{path}?content=1")["content"])
    assert (saved["name"], saved["model"]) == ("Carps", "thinker:latest")
    assert saved["turns"][1]["content"].strip() == ANSWER
    expect(jupyterlab.locator(".lm-TabBar-tab.jp-mod-current", has_text=path)).to_be_visible()


def test_two_tabs_share_the_conversations_and_lose_none(jupyterlab: Page, lab: Server) -> None:
    chat = open_chat(jupyterlab, "thinker")
    delete_all(chat)
    ask_and_save(jupyterlab, chat, "SAY it first")
    tab = jupyterlab.context.new_page()
    open_lab(tab, lab)
    other = open_chat(tab)
    rows = show_list(other)
    rows.get_by_role("button", name="SAY it first").first.click()
    expect(other.get_by_text(ANSWER)).to_be_visible()
    ask_and_save(jupyterlab, chat, "SAY left")
    ask_and_save(tab, other, "SAY right")
    expect(other.locator(".jpo-notice")).to_contain_text("goes on as a copy")
    for page, panel, last in ((jupyterlab, chat, "SAY left"), (tab, other, "SAY right")):
        reload_lab(page)
        expect(panel.locator(".jpo-turn-user").last).to_contain_text(last)
        expect(show_list(panel)).to_have_count(2)
    tab.close()


def test_settings_are_checked_sent_and_kept(jupyterlab: Page, quiet: None) -> None:
    chat = open_chat(jupyterlab, "thinker")
    fold = chat.get_by_role("button", name="Settings")
    fold.click()
    temperature = chat.get_by_role("spinbutton", name="Temperature")
    chat.get_by_role("textbox", name="System prompt").fill("Be brief.")
    temperature.fill("3")
    temperature.press("Tab")
    expect(chat.get_by_role("alert")).to_have_text("A number from 0 to 2; this one is not used.")
    expect(temperature).to_have_attribute("aria-invalid", "true")
    temperature.fill("0.2")
    chat.get_by_role("spinbutton", name="Context").fill("2048")
    expect(chat.get_by_role("alert")).to_have_count(0)
    fold.click()
    with jupyterlab.expect_request("**/ollama/api/chat*") as request:
        ask_and_save(jupyterlab, chat, "SAY it")
    sent: dict[str, Any] = request.value.post_data_json
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["options"] == {"temperature": 0.2, "num_ctx": 2048}
    reload_lab(jupyterlab)
    expect(chat.get_by_text(ANSWER)).to_be_visible()
    chat.get_by_role("button", name="Settings (changed)").click()
    expect(temperature).to_have_value("0.2")
    expect(chat.get_by_role("textbox", name="System prompt")).to_have_value("Be brief.")
    chat.get_by_role("button", name="New chat").click()
    expect(chat.get_by_role("button", name="Settings", exact=True)).to_be_visible()


DROP = """(node, files) => {
  const data = new DataTransfer();
  for (const [name, type, text] of files) {
    const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  node.dispatchEvent(new DragEvent('dragover', { dataTransfer: data, bubbles: true }));
  node.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true }));
}"""
PASTE = """(node, text) => {
  const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
  data.items.add(new File([bytes], 'image.png', { type: 'image/png' }));
  node.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
}"""


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


PICTURE = encoded(saved(noise(8, 8)))


def test_files_are_dropped_and_pasted_and_become_sources(
    jupyterlab: Page, lab: Server, quiet: None
) -> None:
    for name in ("fish.csv", "long.txt"):
        content = "name\ncarp\n" if name == "fish.csv" else "a" * 30_000
        body = {"type": "file", "format": "text", "content": content}
        lab.call("PUT", f"/api/contents/{name}", body)
    chat = open_chat(jupyterlab, "thinker")
    attached = chat.get_by_role("group", name="Attached").locator("summary")
    files = [
        ["notes.md", "text/markdown", encoded("für Ann".encode())],
        ["program.bin", "", encoded(b"\x00\xff")],
        ["huge.txt", "text/plain", encoded(b"a" * 10_000_001)],
    ]
    chat.evaluate(DROP, files)
    expect(attached).to_contain_text(["notes.md"])
    status = chat.locator(".jpo-notice")
    expect(status).to_contain_text("program.bin is neither text nor an image.")
    expect(status).to_contain_text("huge.txt has 10 MB; a file may have 10 MB.")
    chat.get_by_role("textbox", name="Your question").evaluate(PASTE, PICTURE)
    expect(attached).to_contain_text(["notes.md", "image.png"])
    expect(status).to_have_text("thinker:latest does not see images.")
    chat.get_by_role("button", name="Do not attach image.png").click()
    if not jupyterlab.locator(".jp-DirListing").is_visible():
        jupyterlab.locator('[data-id="filebrowser"]').click()
    for name in ("fish.csv", "long.txt"):
        drag(jupyterlab, jupyterlab.locator(".jp-DirListing-item", has_text=name), chat)
    expect(attached).to_contain_text(["notes.md", "fish.csv", "long.txt (first 20,000 characters)"])
    with jupyterlab.expect_request("**/ollama/api/chat*") as request:
        ask(chat, "SAY it")
    sent = request.value.post_data_json["messages"][0]["content"]
    assert sent.startswith("notes.md:\n```\nfür Ann\n```\n\nfish.csv:\n```\nname\ncarp\n\n```")
    assert "a" * 20_000 in sent
    assert "a" * 20_001 not in sent
    answered(chat)
    sources = chat.get_by_role("list", name="Sources of the answer")
    sources.get_by_role("button", name="notes.md").click()
    expect(chat.locator("details[open]")).to_contain_text("für Ann")
    sources.get_by_role("button", name="fish.csv").click()
    expect(jupyterlab.locator(".lm-TabBar-tab.jp-mod-current", has_text="fish.csv")).to_be_visible()


def drag(page: Page, what: Locator, target: Locator) -> None:
    """Drag with the mouse, as JupyterLab's own drags are."""
    what.hover()  # waits until the list stands still
    start, end = what.bounding_box(), target.bounding_box()
    assert start
    assert end
    page.mouse.down()
    page.mouse.move(start["x"] + 60, start["y"] + 40, steps=3)
    page.mouse.move(end["x"] + 80, end["y"] + 200, steps=5)
    expect(target).to_have_attribute("data-drop", "Drop to attach")
    page.mouse.up()
    expect(target).not_to_have_attribute("data-drop", "Drop to attach")


def test_failed_answers_can_be_retried_and_show_their_figures(jupyterlab: Page) -> None:
    chat = open_chat(jupyterlab, "thinker")

    def lose(route: Route) -> None:
        route.abort("connectionreset")

    jupyterlab.route("**/ollama/api/chat*", lose)
    ask(chat, "SAY it")
    expect(chat.get_by_role("alert")).to_have_text(
        "The connection was lost before the answer was complete."
    )
    jupyterlab.unroute("**/ollama/api/chat*", lose)
    chat.get_by_role("button", name="Retry").click()
    expect(chat.get_by_text(ANSWER)).to_be_visible()
    answered(chat)
    expect(chat.locator(".jpo-usage")).to_have_text(USAGE)
    chat.get_by_role("textbox", name="Your question").evaluate(PASTE, PICTURE)
    ask(chat, "SAY what you see")
    expect(chat.get_by_role("alert")).to_contain_text("does not support vision")
    expect(chat.get_by_role("button", name="Retry")).to_be_visible()


WATCH = """node => {
  window.seen = { most: 0, shrunk: 0, renderings: 0 };
  new MutationObserver(() => {
    const now = node.querySelectorAll('.jpo-markdown mjx-container').length;
    window.seen.renderings += 1;
    window.seen.shrunk += now < window.seen.most ? 1 : 0;
    window.seen.most = Math.max(window.seen.most, now);
  }).observe(node, { childList: true, subtree: true });
}"""


def test_formulas_stay_drawn_while_the_answer_grows(jupyterlab: Page) -> None:
    chat = open_chat(jupyterlab, "teacher")
    # The observer runs after each change, before the browser paints.
    chat.evaluate(WATCH)
    ask(chat, "SAY")
    answered(chat)
    expect(chat.locator(".jpo-markdown mjx-container").nth(3)).to_be_visible()
    seen = jupyterlab.evaluate("window.seen")
    assert seen["most"] >= 4
    assert seen["shrunk"] == 0
    expect(chat.locator(".jpo-draft")).to_have_count(0)


def test_questions_fit_to_the_notebook_and_their_cells_are_sources(
    page: Page, lab: Server, quiet: None
) -> None:
    cells = open_notebook(page, lab, "lab-suggestions.ipynb", "SAY = 1 / 0", "2")
    chat = open_chat(page, "thinker")
    expect(chat.get_by_role("button", name="Explain the active cell.")).to_be_visible()
    cells.first.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(cells.first.locator(".jp-OutputArea")).to_contain_text("ZeroDivisionError")
    cells.nth(1).locator(".cm-content").click()
    with page.expect_request("**/ollama/api/chat*") as request:
        chat.get_by_role("button", name="Why does cell [1] fail?").click()
    sent = request.value.post_data_json["messages"][0]["content"]
    assert "SAY = 1 / 0" in sent
    assert "ZeroDivisionError" in sent
    answered(chat)
    sources = chat.get_by_role("list", name="Sources of the answer")
    sources.get_by_role("button", name="Cell").click()
    expect(cells.first).to_have_class(re.compile("jp-mod-active"))


@pytest.mark.parametrize("kept", ["{", '{"id": 3}', "[]"])
def test_a_damaged_file_leaves_the_panel_usable(
    jupyterlab: Page, lab: Server, lab_home: Path, kept: str, quiet: None
) -> None:
    chat = open_chat(jupyterlab, "thinker")
    ask_and_save(jupyterlab, chat, "SAY it")
    files = list((lab_home / "data_dir" / "jupyter_ollama" / "conversations").rglob("*.json"))
    assert files
    for path in files:
        path.write_text(kept)
    reload_lab(jupyterlab)
    expect(chat.get_by_role("textbox", name="Your question")).to_be_visible()
    expect(show_list(chat)).to_have_count(0)
    chat.get_by_role("button", name="Conversations").click()
    ask_and_save(jupyterlab, chat, "SAY it again")
