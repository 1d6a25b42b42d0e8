"""Completions that models write as one types, in JupyterLab."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from browser_models import FILLED
from jupyterlab_page import open_notebook
from playwright.sync_api import Page, Request, expect
from run_notebook import Server

pytestmark = pytest.mark.usefixtures("quiet")


def complete_with(server: Server, **settings: Any) -> None:
    """Change the settings of the completer for pages that are opened from now on."""
    raw = {"raw": json.dumps(settings)}
    server.call("PUT", "/lab/api/settings/jupyter-ollama:completer", raw)


def completions(page: Page) -> list[Request]:
    """Return a list that gets the requests for code which the page makes."""
    asked: list[Request] = []

    def note(request: Request) -> None:
        if "/ollama/api/generate" in request.url:
            asked.append(request)

    page.on("request", note)
    return asked


def test_a_gap_is_filled_where_it_is_wanted(page: Page, lab: Server) -> None:
    complete_with(lab, enabled=True, model="filler", languages=["python"])
    prose = nbformat.v4.new_markdown_cell("Prose")
    cells = open_notebook(
        page, lab, "lab-fill.ipynb", "import pandas as pd", prose, "\nprint(frame)"
    )
    asked = completions(page)
    cells.nth(1).dblclick()
    cells.nth(1).locator(".cm-content").press("Control+End")
    page.keyboard.type(" and more")
    line = cells.nth(2).locator(".cm-line").first
    line.click()
    with page.expect_request("**/ollama/api/generate*"):
        page.keyboard.type("frame = pd.Data")
    ghost = page.locator(".jp-GhostText")
    expect(ghost).to_have_text(FILLED)
    body = asked[0].post_data_json
    assert body["prompt"] == "import pandas as pd\n\n# %%\nframe = pd.Data"
    assert body["suffix"] == "\nprint(frame)"
    # Who types what is completed sees the rest, and no model is asked.
    page.keyboard.type(FILLED[:5])
    expect(ghost).to_have_text(FILLED[5:])
    assert len(asked) == 1
    page.keyboard.press("Tab")
    expect(line).to_contain_text(f"frame = pd.Data{FILLED}")
    complete_with(lab)


def test_a_key_ends_a_completion_and_frees_its_place(page: Page, lab: Server) -> None:
    # Of a model that fills no gaps: it goes on from what is before the cursor.
    complete_with(lab, enabled=True, model="smollm2", maxTokens=4096)
    cells = open_notebook(page, lab, "lab-key.ipynb", "numbers = [", "")
    asked = completions(page)
    ended: list[Request] = []
    page.on("requestfailed", lambda request: ended.append(request))
    cells.nth(1).locator(".cm-content").click()
    page.keyboard.type("numbers = [1, 2, 3, 4, 5, 6, 7")
    ghost = page.locator(".jp-GhostText")
    expect(ghost).to_contain_text("8, 9")
    assert asked[-1].post_data_json["raw"]
    assert "suffix" not in asked[-1].post_data_json
    first = requests_at(lab)
    assert len(first) == 1
    with page.expect_request("**/ollama/api/generate*"):
        page.keyboard.type(",")
    expect(ghost).to_contain_text("8, 9")
    assert ended == asked[:-1]
    second = requests_at(lab)
    assert len(second) == 1
    assert second != first
    # Nobody waits for it where the cursor is not any more.
    page.keyboard.press("Home")
    page.wait_for_function("() => !document.querySelector('.jp-GhostText')")
    for _ in range(30):
        if not requests_at(lab):
            break
        page.wait_for_timeout(100)
    assert requests_at(lab) == []
    assert ended == asked
    complete_with(lab)


def requests_at(server: Server) -> list[str]:
    """Return which requests the server works for."""
    found = server.call("GET", "/ollama/api/requests")["requests"]
    return [request["id"] for request in found]
