"""The panels of JupyterLab for a screen reader, the keyboard, narrow columns and large text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_models import ANSWER
from chat_panel import answered, ask, delete_all, open_chat, set_width, show_list
from jupyterlab_page import open_lab, use_theme
from playwright.sync_api import Browser, Locator, Page, Route, expect
from run_notebook import Server

ROOT = Path(__file__).parents[2]
AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
NARROW = 290
"""The width of a panel in CSS pixels at which nothing may be cut off."""


def findings(page: Page, panel: Locator) -> list[str]:
    """Return the serious and critical findings of axe-core in a panel."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    # JupyterLab's body has no height and hides what overflows: axe-core would see no text in it.
    page.evaluate("document.body.style.overflow = 'visible'")
    found: dict[str, list[dict[str, Any]]] = panel.evaluate("node => axe.run(node)")
    page.evaluate("document.body.style.overflow = ''")
    read = [one for one in found["passes"] if one["id"] == "color-contrast"]
    assert [node for one in read for node in one["nodes"] if not is_hidden(node)]
    return [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def is_hidden(node: dict[str, Any]) -> bool:
    """Return whether axe-core has not read the text of an element."""
    return "Element is hidden" in str(node["any"])


def cut_off(panel: Locator) -> list[str]:
    """Return the elements of a panel that reach beyond it and cannot be scrolled to."""
    found: list[str] = panel.evaluate(
        """node => {
          const right = node.getBoundingClientRect().right + 1;
          const scrolls = one => {
            for (let at = one; at !== node; at = at.parentElement) {
              if (['auto', 'scroll'].includes(getComputedStyle(at).overflowX) &&
                  at.matches('pre, table, .jpo-markdown *')) return true;
            }
            return false;
          };
          return [...node.querySelectorAll('*')]
            .filter(one => one.checkVisibility({ visibilityProperty: true }))
            .filter(one => one.getBoundingClientRect().right > right && !scrolls(one))
            .filter(one => !one.closest('mjx-container, .jpo-draft, svg'))
            .map(one => one.outerHTML.slice(0, 200));
        }"""
    )
    return found


def check(page: Page, panel: Locator, name: str, folder: Path) -> None:
    """Check what a panel shows, and keep a picture of it."""
    panel.screenshot(path=folder / f"{name}.png")
    found = findings(page, panel)
    assert not found, "\n".join(found)
    assert cut_off(panel) == []


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path:
    """The folder of the pictures of the panels, in .pytest_cache/d/pictures."""
    return request.config.cache.mkdir("pictures")


@pytest.fixture(params=["Light", "Dark"])
def theme(request: pytest.FixtureRequest, lab: Server) -> Iterator[str]:
    """A theme of the pages that a test opens."""
    use_theme(lab, request.param)
    yield request.param
    use_theme(lab, "Light")


def test_each_state_of_the_chat(page: Page, lab: Server, theme: str, pictures: Path) -> None:
    open_lab(page, lab)
    chat = open_chat(page, "coder")
    delete_all(chat)

    def shows(name: str) -> None:
        check(page, chat, f"chat-{name}-{theme.lower()}", pictures)

    set_width(page, chat, NARROW)
    assert (chat.bounding_box() or {})["width"] == pytest.approx(NARROW, abs=2)
    shows("empty")
    ask(
        chat,
        "SAY which fish swim in lakes, and how deep they dive in the coldest month",
    )
    answered(chat)
    shows("conversation")
    chat.get_by_role("button", name="Settings").click()
    chat.get_by_role("spinbutton", name="Temperature").fill("3")
    chat.get_by_role("spinbutton", name="Temperature").press("Tab")
    expect(chat.get_by_role("alert")).to_be_visible()
    shows("settings")
    chat.get_by_role("button", name="Settings").click()

    def lose(route: Route) -> None:
        route.abort("connectionreset")

    page.route("**/ollama/api/chat*", lose)
    ask(chat, "SAY it again")
    expect(chat.get_by_role("button", name="Retry")).to_be_visible()
    shows("error")
    page.unroute("**/ollama/api/chat*", lose)
    chat.get_by_role("button", name="New chat").click()
    ask(chat, "SAY")
    answered(chat)
    rows = show_list(chat)
    expect(rows).to_have_count(2)
    rows.last.get_by_role("button", name="Delete").click()
    expect(chat.get_by_role("button", name="Undo")).to_be_visible()
    shows("list")
    chat.get_by_role("button", name="Undo").click()
    rows.last.get_by_role("button", name="Rename").click()
    shows("rename")


def test_the_models_panel(page: Page, lab: Server, theme: str, pictures: Path) -> None:
    open_lab(page, lab)
    page.locator('[data-id="jupyter-ollama-models"]').click()
    models = page.locator("#jupyter-ollama-models")
    expect(models.get_by_text("coder:latest")).to_be_visible()
    for tab in models.get_by_role("tab").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        name = tab.inner_text().strip().lower()
        check(page, models, f"models-{name}-{theme.lower()}", pictures)


def test_twice_the_size(browser: Browser, lab: Server, pictures: Path) -> None:
    # 200 % on a screen of 1,100 by 900 pixels.
    context = browser.new_context(viewport={"width": 550, "height": 450}, device_scale_factor=2)
    page = context.new_page()
    open_lab(page, lab)
    page.locator('[data-id="filebrowser"]').click()
    chat = open_chat(page, "coder")
    chat.get_by_role("textbox", name="Your question").scroll_into_view_if_needed()
    ask(chat, "SAY")
    answered(chat)
    check(page, chat, "chat-zoom", pictures)
    for name in ("Your question", "Send"):
        role = "textbox" if name == "Your question" else "button"
        expect(chat.get_by_role(role, name=name)).to_be_in_viewport(ratio=0.9)
    context.close()


def test_the_keyboard_alone(jupyterlab: Page) -> None:
    chat = open_chat(jupyterlab, "thinker")
    # JupyterLab sets the focus there when it has started.
    jupyterlab.locator(".jp-Launcher").focus()
    jupyterlab.keyboard.press("Alt+Shift+c")
    question = chat.get_by_role("textbox", name="Your question")
    expect(question).to_be_focused()
    jupyterlab.keyboard.type("SAY by keys")
    jupyterlab.keyboard.press("Enter")
    expect(chat.get_by_text(ANSWER)).to_be_visible()
    answered(chat)
    reached = []
    while (label := focused_label(jupyterlab)) not in reached and len(reached) < 40:
        reached.append(label)
        jupyterlab.keyboard.press("Shift+Tab")
    wanted = ["Conversations", "Model", "New chat", "Save as JSON", "SAY by keys", "Settings"]
    wanted += ["Conversation", "Edit", "Copy the answer", "Regenerate", "Cell", "Your question"]
    assert [name for name in wanted if name not in reached] == []
    chat.get_by_role("button", name="Conversations").focus()
    jupyterlab.keyboard.press("Enter")
    expect(chat.get_by_role("searchbox")).to_be_focused()
    jupyterlab.keyboard.press("Escape")
    expect(question).to_be_focused()


def focused_label(page: Page) -> str:
    """Return the accessible name of the focused element."""
    label: str = page.evaluate(
        "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText)"
    )
    return label.strip()
