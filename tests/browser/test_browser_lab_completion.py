"""Completions of models during typing, in JupyterLab."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from browser_models import FILLED
from jupyterlab_page import open_notebook, requests_of, wait_until
from playwright.sync_api import Page, Request, expect
from run_notebook import Server

pytestmark = pytest.mark.usefixtures("quiet")


def complete_with(server: Server, **settings: Any) -> None:
    """Change the settings of the completer for pages that are opened later."""
    raw = {"raw": json.dumps(settings)}
    server.call("PUT", "/lab/api/settings/jupyter-ollama:completer", raw)


def completions(page: Page) -> list[Request]:
    """Return a list to which the completion requests of the page are added."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if is_completion(request) else None)
    return asked


def is_completion(request: Request) -> bool:
    """Return whether a request is a completion request."""
    return "/ollama/api/generate" in request.url


def asks_after(line: str) -> Callable[[Request], bool]:
    """Return a predicate of requests: whether they complete a line."""

    def condition(request: Request) -> bool:
        return is_completion(request) and prompt_of(request).endswith(f"\n{line}")

    return condition


def prompt_of(request: Request) -> str:
    """Return the text that a request has a model continue."""
    return str(request.post_data_json["prompt"])


def test_a_gap_is_filled_at_the_cursor(page: Page, lab: Server) -> None:
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
    # Slow keys would be completed one by one.
    page.keyboard.insert_text("frame = pd.Data")
    ghost = page.locator(".jp-GhostText")
    expect(ghost).to_have_text(FILLED)
    expect(page.locator(".jp-GhostText-streamingIndicator")).to_have_count(0)
    body = asked[0].post_data_json
    assert body["prompt"] == "import pandas as pd\n\n# %%\nframe = pd.Data"
    assert body["suffix"] == "\nprint(frame)"
    # Typing the completed text shows the rest, without a request.
    page.keyboard.type(FILLED[:5])
    expect(ghost).to_have_text(FILLED[5:])
    with page.expect_request(asks_after(f"frame = pd.Data{FILLED}")):
        page.keyboard.press("Tab")
    expect(line).to_contain_text(f"frame = pd.Data{FILLED}")
    assert len(asked) == 2
    complete_with(lab)


def test_a_key_ends_a_completion_and_frees_its_slot(page: Page, lab: Server) -> None:
    # A model that cannot insert continues the text before the cursor.
    complete_with(lab, enabled=True, model="comma", maxTokens=4096)
    cells = open_notebook(page, lab, "lab-key.ipynb", "numbers = [", "")
    asked = completions(page)
    ended: list[Request] = []
    page.on("requestfailed", lambda request: ended.append(request))
    cells.nth(1).locator(".cm-content").click()
    line = "numbers = [1, 2, 3"
    with page.expect_request(asks_after(line)) as shown:
        page.keyboard.type(line)
    body = shown.value.post_data_json
    assert body["raw"]
    assert "suffix" not in body
    ghost = page.locator(".jp-GhostText")
    expect(ghost).to_contain_text(",,,")
    wait_until(page, lambda: len(requests_of(lab)) == 1)
    first = requests_of(lab)
    # The rest of an incomplete completion is unknown: a request is sent.
    with page.expect_request(asks_after(f"{line},")):
        page.keyboard.type(",")
    wait_until(page, lambda: len(requests_of(lab)) == 1 and requests_of(lab) != first)
    wait_until(page, lambda: ended == asked[:-1])
    expect(ghost).to_contain_text(",,,")
    # A move of the cursor ends the request.
    page.keyboard.press("Home")
    expect(ghost).to_have_count(0)
    wait_until(page, lambda: not requests_of(lab))
    wait_until(page, lambda: ended == asked)
    complete_with(lab)
