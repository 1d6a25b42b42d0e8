"""Cells that ask a model look like prose in JupyterLab and Notebook 7."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jupyterlab_page import Notebook, open_notebook, write_notebook
from playwright.sync_api import Locator, Page, expect
from run_notebook import Server

SETTINGS = "/lab/api/settings/jupyter-ollama:client"
PROMPT = "%%chat smollm2 --new\nA **short** poem about {place} and {nothing}."


@pytest.fixture
def switch(lab: Server) -> Iterator[None]:
    """Reset the setting after a test."""
    yield
    lab.call("PUT", SETTINGS, {"raw": "{}"})


def language_of(cell: Locator, language: str) -> None:
    """Expect the language of a cell's editor."""
    expect(cell.locator(".cm-content")).to_have_attribute("data-language", language)


@pytest.mark.usefixtures("quiet")
def test_a_prompt_is_prose_with_its_model_and_variables(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "lab-prompts.ipynb", "place = 'a windy city'", PROMPT, "")
    language_of(cells.nth(0), "python")
    language_of(cells.nth(1), "markdown")
    expect(cells.nth(1).locator(".jpo-prompt-model")).to_have_text("smollm2")
    fields = cells.nth(1).locator(".jpo-prompt-field")
    expect(fields).to_have_text(["{place}", "{nothing}"])
    cells.nth(0).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(cells.nth(0).locator(".jp-InputPrompt")).to_have_text("[1]:")
    tooltip = page.locator(".jpo-prompt-tooltip")
    fields.nth(0).hover()
    expect(tooltip).to_have_text("placestra windy city")
    cells.nth(0).hover()
    expect(tooltip).to_have_count(0)
    fields.nth(1).hover()
    expect(tooltip).to_contain_text("no such variable")
    # The language follows the text.
    cells.nth(2).locator(".cm-content").click()
    page.keyboard.type("%%chat")
    language_of(cells.nth(2), "markdown")
    page.keyboard.type("s")
    language_of(cells.nth(2), "python")


@pytest.mark.usefixtures("quiet", "switch")
def test_a_setting_turns_it_off(page: Page, lab: Server) -> None:
    lab.call("PUT", SETTINGS, {"raw": '{"highlightPrompts": false}'})
    cells = open_notebook(page, lab, "lab-prompts-off.ipynb", PROMPT)
    language_of(cells.nth(0), "python")
    expect(cells.nth(0).locator("[class^=jpo-prompt]")).to_have_count(0)
    # Open cells follow the setting: its editor writes it and loads it again.
    page.evaluate("jupyterapp.commands.execute('settingeditor:open', { query: 'as prose' })")
    page.get_by_role("checkbox", name="Show prompts as prose").check()
    page.locator(".lm-TabBar-tabLabel", has_text="lab-prompts-off.ipynb").click()
    language_of(cells.nth(0), "markdown")


def test_notebook_7_shows_prompts_as_prose(page: Page, lab: Server) -> None:
    write_notebook(lab, "lab-prompts-7.ipynb", PROMPT)
    Notebook(page, lab, "lab-prompts-7.ipynb")
    page.goto(f"{lab.url}/notebooks/lab-prompts-7.ipynb?token={lab.token}")
    cells = page.locator(".jp-Notebook .jp-Cell")
    language_of(cells.nth(0), "markdown")
    expect(cells.nth(0).locator(".jpo-prompt-field")).to_have_count(2)
