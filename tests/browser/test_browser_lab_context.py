"""The @ words of questions, and what completions know of the kernel, in JupyterLab."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser_models import LINES
from jupyter_ollama_magics.context.tokens import estimate
from jupyterlab_page import open_notebook, use_theme, wait_until
from playwright.sync_api import Locator, Page, Request, expect
from run_notebook import Server

pytestmark = pytest.mark.usefixtures("quiet")
TABLE = "import pandas as pd\ndf = pd.DataFrame({'price': [1.5, 2.5], 'city': ['Bern', 'Rome']})"
WRONG = "# the prices\ndf['pric'].mean()"


def open_chat(page: Page, model: str = "coder") -> Locator:
    """Show the chat with a model."""
    chat = page.locator("#jupyter-ollama-chat")
    if not chat.is_visible():
        page.locator('[data-id="jupyter-ollama-chat"]').click()
    chat.get_by_role("combobox", name="Model").select_option(f"{model}:latest")
    return chat


def question(chat: Locator) -> Locator:
    """Return the text of the next question."""
    return chat.get_by_role("textbox", name="Your question")


def offers(chat: Locator) -> Locator:
    """Return what the list under an ``@`` offers."""
    return chat.get_by_role("listbox", name="What to attach").get_by_role("option")


def chip(chat: Locator, name: str) -> Locator:
    """Return an attachment of the next question."""
    return chat.locator(".jpo-input .jpo-attached", has_text=name)


def run(page: Page, cell: Locator, output: str = "") -> None:
    """Run a cell and wait for its end."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"))
    if output:
        expect(cell.locator(".jp-OutputArea")).to_contain_text(output)


def sent(request: Request) -> str:
    """Return the last message of a request to chat."""
    body: dict[str, Any] = request.post_data_json
    return str(body["messages"][-1]["content"])


def picture(page: Page, request: pytest.FixtureRequest, name: str) -> None:
    """Keep a picture of the page for a person to look at."""
    folder = request.config.cache.mkdir("pictures")
    page.screenshot(path=folder / f"context-{name}.png")


def test_a_variable_is_chosen_looked_at_and_sent(
    page: Page, lab: Server, request: pytest.FixtureRequest
) -> None:
    cells = open_notebook(page, lab, "lab-mention.ipynb", TABLE, WRONG)
    run(page, cells.first)
    run(page, cells.nth(1), "KeyError: 'pric'")
    chat = open_chat(page)
    question(chat).click()
    page.keyboard.type("Mail me@example.org about @")
    expect(offers(chat).filter(has_text="@df")).to_contain_text("DataFrame, 2 x 2")
    groups = chat.get_by_role("listbox").get_by_role("group")
    titles = [one.get_attribute("aria-label") for one in groups.all()]
    assert titles == ["Variables", "Error", "Notebook", "Cells", "Files"]
    expect(offers(chat).filter(has_text="@error")).to_contain_text("KeyError: 'pric'")
    expect(offers(chat).filter(has_text="@cell:2")).to_contain_text("# the prices")
    picture(page, request, "offers")
    page.keyboard.press("ArrowDown")
    selected = chat.locator("[role=option][aria-selected=true]")
    assert question(chat).get_attribute("aria-activedescendant") == selected.get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.type("d")
    expect(offers(chat).first).to_contain_text("@df")
    page.keyboard.press("Enter")
    expect(offers(chat)).to_have_count(0)
    expect(question(chat)).to_have_value("Mail me@example.org about @df ")
    page.keyboard.type("please")
    expect(question(chat)).to_have_value("Mail me@example.org about @df please")
    summary = chip(chat, "@df").locator("summary")
    expect(summary).to_contain_text(re.compile(r"≈\d+ tokens"))
    summary.click()
    shown = chip(chat, "@df").locator("pre")
    expect(shown).to_contain_text("df: pandas DataFrame, 2 rows x 2 columns")
    preview = shown.evaluate("node => node.textContent")
    assert "- price: float64: 1.5, 2.5" in preview
    picture(page, request, "chip")
    question(chat).click()
    with page.expect_request("**/ollama/api/chat*") as asked:
        page.keyboard.press("Enter")
    text = sent(asked.value)
    assert text == f"@df:\n```\n{preview}\n```\n\nMail me@example.org about @df please"
    expect(chip(chat, "@df")).to_have_count(0)


def test_words_are_attached_as_they_are_typed(
    page: Page, lab: Server, lab_home: Path, request: pytest.FixtureRequest
) -> None:
    (lab_home / "harvest data.csv").write_text("day,price\n1,9.5\n")
    use_theme(lab, "Dark")
    cells = open_notebook(page, lab, "lab-words.ipynb", TABLE, WRONG)
    run(page, cells.first)
    run(page, cells.nth(1), "KeyError")
    page.set_viewport_size({"width": 800, "height": 800})
    chat = open_chat(page)
    question(chat).click()
    page.keyboard.type("Why @error, in @cell:1? ")
    expect(chip(chat, "@error")).to_be_visible()
    expect(chip(chat, "@cell:1")).to_be_visible()
    page.keyboard.type("See @harvest")
    expect(offers(chat)).to_have_count(1)
    picture(page, request, "dark")
    page.keyboard.press("Tab")
    expect(question(chat)).to_have_value('Why @error, in @cell:1? See @file:"harvest data.csv" ')
    expect(chip(chat, "harvest data.csv")).to_be_visible()
    # What the user has removed is not attached again.
    chat.get_by_role("button", name="Do not attach @cell:1").click()
    question(chat).click()
    page.keyboard.press("Control+End")
    page.keyboard.type("and @n")
    expect(offers(chat)).not_to_have_count(0)
    page.keyboard.press("Escape")
    expect(offers(chat)).to_have_count(0)
    page.keyboard.type("obody, `@df`.")
    # The last word is attached when the question is sent.
    page.keyboard.type(" @df.price")
    page.keyboard.press("Escape")
    with page.expect_request("**/ollama/api/chat*") as asked:
        page.keyboard.press("Enter")
    text = sent(asked.value)
    assert "@error:\n```\n# the prices" in text
    assert "KeyError: 'pric'\nCell In[2], line 2:\n    df['pric'].mean()" in text
    assert '@file:"harvest data.csv":\n```\nday,price\n1,9.5\n\n```' in text
    assert "@df.price:\n```\ndf.price: pandas Series, 2 values" in text
    assert "@cell:1:" not in text
    assert "@df:" not in text


def test_a_chip_is_renewed_after_a_run(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "lab-renew.ipynb", "wingspan = 3", "wingspan = 44")
    run(page, cells.first)
    chat = open_chat(page)
    question(chat).click()
    page.keyboard.type("How large is @wing")
    expect(offers(chat)).to_have_count(1)
    page.keyboard.press("Enter")
    expect(chip(chat, "@wingspan").locator("pre")).to_have_text("wingspan: int: 3")
    run(page, cells.nth(1))
    expect(chip(chat, "@wingspan").locator("pre")).to_have_text("wingspan: int: 44")


def test_a_busy_kernel_and_one_without_the_package_say_so(
    page: Page, lab: Server, lab_home: Path
) -> None:
    waits = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.05)"
    lacks = (
        "import sys\nfor name in list(sys.modules):\n"
        "    if name.startswith('jupyter_ollama_magics'):\n        sys.modules[name] = None"
    )
    cells = open_notebook(page, lab, "lab-busy.ipynb", "known = 1", waits, lacks)
    run(page, cells.first)
    cells.nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    chat = open_chat(page)
    question(chat).click()
    page.keyboard.type("@")
    notice = chat.locator(".jpo-mentions-notice")
    expect(notice).to_contain_text("The kernel is busy")
    expect(offers(chat).filter(has_text="@cell:1")).to_be_visible()
    (lab_home / "go").touch()
    expect(cells.nth(1).locator(".jp-InputPrompt")).to_have_text("[2]:")
    page.keyboard.type("k")
    expect(offers(chat).filter(has_text="@known")).to_be_visible()
    run(page, cells.nth(2))
    question(chat).click()
    page.keyboard.press("Control+a")
    page.keyboard.type("@")
    expect(notice).to_contain_text("%pip install jupyter-ollama-magics")
    page.keyboard.press("Escape")


def test_an_error_is_explained_with_few_tokens(page: Page, lab: Server) -> None:
    setting = {"raw": '{"defaultModel": "coder:latest"}'}
    lab.call("PUT", "/lab/api/settings/jupyter-ollama:client", setting)
    long = "\n".join(f"value_{n} = {n}" for n in range(120)) + "\ndf['pric'].mean()\nlast = 1"
    cells = open_notebook(page, lab, "lab-short.ipynb", TABLE, long)
    run(page, cells.first)
    run(page, cells.nth(1), "KeyError: 'pric'")
    cells.nth(1).locator(".cm-content").click()
    with page.expect_request("**/ollama/api/chat*") as asked:
        cells.nth(1).locator(".cm-content").click(button="right")
        page.get_by_role("menuitem", name="Explain Error").click()
    text = sent(asked.value)
    assert estimate(text) < 400
    assert "value_119 = 119\ndf['pric'].mean()\nlast = 1" in text
    assert "lines before" in text
    assert "KeyError: 'pric'\nCell In[2], line 121:" in text
    assert "raised in pandas/core/indexes/base.py" in text
    assert "site-packages" not in text
    lab.call("PUT", "/lab/api/settings/jupyter-ollama:client", {"raw": "{}"})


def test_completions_know_the_names_in_scope(
    page: Page, lab: Server, request: pytest.FixtureRequest
) -> None:
    raw = {"raw": json.dumps({"enabled": True, "model": "liner"})}
    lab.call("PUT", "/lab/api/settings/jupyter-ollama:completer", raw)
    cells = open_notebook(page, lab, "lab-scope.ipynb", TABLE, "")
    prompts: list[str] = []
    page.on(
        "request",
        lambda one: (
            prompts.append(str(one.post_data_json["prompt"]))
            if "/ollama/api/generate" in one.url
            else None
        ),
    )
    run(page, cells.first)
    cells.nth(1).locator(".cm-content").click()
    page.keyboard.insert_text("upper = ")
    ghost = page.locator(".jp-GhostText")
    expect(ghost).to_contain_text("for name in names")
    # The first completion does not wait for the kernel; later ones know its answer.
    head = "# Names in scope:\n# df: DataFrame[price: float64, city: str]\n"
    typed = "upper = "

    def is_requested() -> bool:
        return prompts[-1].endswith(f"\n\n# %%\n{typed}")

    while not prompts[-1].startswith(head):
        # A completion that is known is not requested again, so the text grows.
        page.keyboard.insert_text("[] + ")
        typed += "[] + "
        wait_until(page, is_requested)
    expect(ghost).to_contain_text("for name in names")
    picture(page, request, "lines")
    page.keyboard.press("Tab")
    source = cells.nth(1).locator(".cm-content")
    assert LINES.split("\n")[2].strip() in source.inner_text()
    lab.call("PUT", "/lab/api/settings/jupyter-ollama:completer", {"raw": "{}"})
