"""The prompt in a cell: a model writes or edits the cell, and the user decides in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import nbformat
import pytest
from browser_models import EDITED, GENERATED, LOOP, ONE_LINE, PROSE
from jupyterlab_page import open_notebook, requests_of, wait_until
from playwright.sync_api import Locator, Page, expect
from run_notebook import Server

SETTINGS = "/lab/api/settings/jupyter-ollama:client"
SOURCE = """\
index => window.jupyterapp.shell.currentWidget.content.widgets[index].model.sharedModel.getSource()
"""


@pytest.fixture(autouse=True)
def editor(lab: Server) -> Iterator[None]:
    """The default model edits cells by scripts."""
    lab.call("PUT", SETTINGS, {"raw": '{"defaultModel": "editor:latest"}'})
    yield
    lab.call("PUT", SETTINGS, {"raw": "{}"})


def open_prompt(page: Page, cell: Locator) -> Locator:
    """Open the prompt of a cell whose editor has the focus."""
    page.keyboard.press("Control+k")
    # Keys that follow at once go to the prompt.
    page.keyboard.type("?")
    line = cell.locator(".jpo-inline-form").get_by_role("textbox")
    expect(line).to_be_focused()
    expect(line).to_have_value("?")
    line.fill("")
    return line


def accept(cell: Locator) -> Locator:
    """Return the button that accepts all of a proposal."""
    return cell.get_by_role("button", name="Accept all changes")


@pytest.mark.usefixtures("quiet")
def test_a_cell_is_edited_and_edited_further(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "inline-edit.ipynb", "first = 1", LOOP)
    cell = cells.nth(1)
    cell.locator(".cm-content").click()
    line = open_prompt(page, cell)
    expect(line).to_have_attribute("placeholder", "How should the cell change?")
    line.fill("DOCUMENT it")
    with page.expect_request("**/ollama/api/chat*") as request:
        line.press("Enter")
    [question] = request.value.post_data_json["messages"]
    assert question["content"].startswith("Cells before:\n```python\nfirst = 1\n```")
    assert LOOP in question["content"]
    expect(cell.locator(".jpo-diff-added-line")).to_have_text(
        ["# The sum of the numbers below three."]
    )
    expect(line).to_have_attribute("placeholder", "A further instruction…")
    line.fill("EDIT it")
    with page.expect_request("**/ollama/api/chat*") as request:
        line.press("Enter")
    roles = [message["role"] for message in request.value.post_data_json["messages"]]
    assert roles == ["user", "assistant", "user"]
    expect(cell.locator(".jpo-diff-added-line")).to_have_count(3)
    accept(cell).click()
    expect(cell.locator(".jpo-inline-form")).to_have_count(0)
    assert page.evaluate(SOURCE, 1) == EDITED
    # The keys continue in the cell.
    expect(cell.locator(".cm-content")).to_be_focused()
    page.keyboard.press("Control+z")
    assert page.evaluate(SOURCE, 1) == LOOP


@pytest.mark.usefixtures("quiet")
def test_an_empty_cell_is_written_and_a_selection_changed(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "inline-write.ipynb", "", LOOP)
    cells.first.locator(".cm-content").click()
    line = open_prompt(page, cells.first)
    expect(line).to_have_attribute("placeholder", "What should the cell do?")
    line.fill("GENERATE a function")
    line.press("Enter")
    accept(cells.first).click()
    assert page.evaluate(SOURCE, 0) == GENERATED
    text = cells.nth(1).locator(".cm-content")
    text.locator(".cm-line").nth(3).click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    line = open_prompt(page, cells.nth(1))
    line.fill("LINE please")
    with page.expect_request("**/ollama/api/chat*") as request:
        line.press("Enter")
    content = request.value.post_data_json["messages"][0]["content"]
    assert "Selected lines:\n```python\n    total += x\n```" in content
    accept(cells.nth(1)).click()
    # The other lines stay, and the answer gets the indentation of the selection.
    assert page.evaluate(SOURCE, 1) == LOOP.replace("total += x", ONE_LINE)


@pytest.mark.usefixtures("quiet")
def test_markdown_is_edited_and_rendered_again(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "inline-prose.ipynb", nbformat.v4.new_markdown_cell("Old"))
    cells.first.dblclick()
    line = open_prompt(page, cells.first)
    line.fill("PROSE")
    line.press("Enter")
    accept(cells.first).click()
    assert page.evaluate(SOURCE, 0) == PROSE


@pytest.mark.usefixtures("quiet")
def test_escape_ends_it_and_keys_recall_instructions(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "inline-history.ipynb", LOOP)
    cell = cells.first
    cell.locator(".cm-content").click()
    line = open_prompt(page, cell)
    line.fill("SAME again")
    line.press("Enter")
    expect(page.get_by_text("editor:latest would change nothing.")).to_be_visible()
    # The instruction is there to be changed.
    expect(line).to_have_value("SAME again")
    line.fill("EDIT it")
    line.press("Enter")
    expect(accept(cell)).to_be_visible()
    line.press("Escape")
    expect(cell.locator(".jpo-inline-form, .jpo-proposal-bar")).to_have_count(0)
    assert page.evaluate(SOURCE, 0) == LOOP
    expect(cell.locator(".cm-content")).to_be_focused()
    line = open_prompt(page, cell)
    line.fill("new")
    line.press("ArrowUp")
    expect(line).to_have_value("EDIT it")
    line.press("ArrowUp")
    expect(line).to_have_value("SAME again")
    line.press("ArrowDown")
    line.press("ArrowDown")
    expect(line).to_have_value("new")


@pytest.mark.usefixtures("quiet")
def test_the_model_is_shown_and_stopped(page: Page, lab: Server) -> None:
    lab.call("PUT", SETTINGS, {"raw": '{"defaultModel": "talker:latest"}'})
    cells = open_notebook(page, lab, "inline-stop.ipynb", "x = 1\ny = 2")
    cell = cells.first
    cell.locator(".cm-content").click()
    line = open_prompt(page, cell)
    line.fill("Tell a story")
    line.press("Enter")
    expect(cell.get_by_role("status")).to_contain_text(re.compile("talker:latest is writing…"))
    expect(cell.locator(".jpo-diff-added-line").first).not_to_be_empty()
    cell.get_by_role("button", name="Stop and refuse").click()
    wait_until(page, lambda: not requests_of(lab))
    assert page.evaluate(SOURCE, 0) == "x = 1\ny = 2"
    expect(line).to_have_value("Tell a story")


def test_an_error_is_shown_and_the_instruction_kept(page: Page, lab: Server) -> None:
    lab.call("PUT", SETTINGS, {"raw": '{"defaultModel": "nosuch:latest"}'})
    cells = open_notebook(page, lab, "inline-error.ipynb", "x = 1")
    cell = cells.first
    cell.locator(".cm-content").click()
    line = open_prompt(page, cell)
    line.fill("Anything")
    line.press("Enter")
    expect(cell.get_by_role("alert")).to_contain_text("nosuch")
    cell.locator(".jpo-proposal-bar").get_by_role("button", name="Close").click()
    expect(line).to_have_value("Anything")
