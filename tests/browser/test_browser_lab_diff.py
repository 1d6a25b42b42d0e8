"""Proposals for cells: marks in the cell's own editor, accepted or refused whole or by part."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from browser_models import DOCUMENTED, EDITED, LOOP
from jupyterlab_page import open_notebook
from playwright.sync_api import Locator, Page, expect
from run_notebook import Server

pytestmark = pytest.mark.usefixtures("quiet")
ACCEPT, REFUSE = "Accept all changes", "Refuse all changes"
PROPOSE = """\
async ([kind, index, source, type]) => {
  const api = (await window._JUPYTERLAB["jupyter-ollama"].get("./extension"))();
  const notebook = window.jupyterapp.shell.currentWidget.content;
  const trans = {
    __: (text, ...args) => args.reduce((all, one, i) => all.replace(`%${i + 1}`, one), text),
    _n: (one, many, n, ...args) => trans.__(n === 1 ? one : many, n, ...args),
  };
  const controller = new AbortController();
  const options = { trans, author: "Tester", signal: controller.signal };
  const cell = notebook.widgets[index];
  window.outcome = undefined;
  window.end = () => controller.abort();
  const parts = source.split("|");
  const streamed = (async function* () {
    for (const part of parts) {
      yield part;
      await new Promise(go => { window.more = go; });
    }
  })();
  const proposed = parts.length > 1 ? streamed : source;
  ({
    source: () => api.proposeSource(cell, proposed, options),
    cell: () =>
      api.proposeNewCell(notebook, index, type, proposed, options).then(one => one.outcome),
    deletion: () => api.proposeDeletion(notebook, cell, options),
  })[kind]().then(
    outcome => { window.outcome = outcome; },
    error => { window.outcome = error.message; },
  );
}
"""
"""Calls the public functions of the extension; a source with "|" is streamed, step by step."""
STATE = """\
() => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  const cell = notebook.activeCell;
  const stack = cell.model.sharedModel.undoManager.undoStack.length;
  return [cell.model.sharedModel.getSource(), stack, cell.editor.getCursorPosition()];
}
"""


def propose(page: Page, kind: str, index: int, source: str = "", type: str = "code") -> None:
    """Open a proposal, as other plugins do."""
    page.evaluate(PROPOSE, [kind, index, source, type])


def outcome(page: Page) -> str:
    """Wait for the end of the last proposal and return what was decided."""
    page.wait_for_function("window.outcome !== undefined")
    found: str = page.evaluate("window.outcome")
    return found


def button(cell: Locator, name: str) -> Locator:
    """Return a button of a proposal."""
    return cell.get_by_role("button", name=name, exact=True)


def saved_sources(server: Server, page: Page, name: str) -> list[str]:
    """Save the notebook and return the sources in its file."""
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    content: dict[str, Any] = server.call("GET", f"/api/contents/{name}?content=1")["content"]
    return [cell["source"] for cell in content["cells"]]


def lines(cell: Locator, kind: str) -> list[str]:
    """Return the "removed" or "added" lines that a cell shows."""
    kinds = {"removed": ".jpo-diff-removed", "added": ".jpo-diff-added-line"}
    return [text.rstrip("\n") for text in cell.locator(kinds[kind]).all_text_contents()]


def test_a_refused_proposal_leaves_no_trace(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "diff-refuse.ipynb", LOOP, "y = 2")
    cell = cells.first
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowDown")
    before = page.evaluate(STATE)
    propose(page, "source", 0, EDITED)
    expect(button(cell, ACCEPT)).to_be_visible()
    assert lines(cell, "removed") == ["import os", "    total += x"]
    assert lines(cell, "added") == ["import math", "    total += x * 2", 'print("done")']
    expect(cell.locator(".jpo-diff-added .jpo-diff-word")).to_have_text(
        ["math", " ", "*", " ", "2"]
    )
    # Neither the shared model nor the file has what is not accepted.
    assert page.evaluate(STATE) == before
    assert saved_sources(lab, page, "diff-refuse.ipynb") == [LOOP, "y = 2"]
    button(cell, REFUSE).click()
    assert outcome(page) == "refused"
    expect(cell.locator("[class*=jpo-diff-]")).to_have_count(0)
    assert page.evaluate(STATE) == before
    # The caller can end it, too.
    propose(page, "source", 0, EDITED)
    expect(button(cell, ACCEPT)).to_be_visible()
    page.evaluate("window.end()")
    assert outcome(page) == "refused"
    propose(page, "source", 0, LOOP)
    assert outcome(page) == "unchanged"


def test_an_accepted_proposal_is_one_undo_step(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "diff-accept.ipynb", LOOP)
    cell = cells.first
    text = cell.locator(".cm-content")
    text.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("#")
    propose(page, "source", 0, EDITED)
    button(cell, ACCEPT).click()
    assert outcome(page) == "accepted"
    assert page.evaluate(STATE)[0] == EDITED
    page.keyboard.press("Control+z")
    assert page.evaluate(STATE)[0] == LOOP + "#"
    page.keyboard.press("Control+z")
    assert page.evaluate(STATE)[0] == LOOP


def test_parts_are_decided_by_keys_in_one_undo_step(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "diff-parts.ipynb", LOOP)
    cell = cells.first
    cell.locator(".cm-content").click()
    propose(page, "source", 0, EDITED)
    expect(button(cell, ACCEPT)).to_have_attribute("title", "Accept all changes (Alt+Shift+Y)")
    page.keyboard.press("Alt+Shift+j")
    expect(button(cell, "Accept change 1 of 3")).to_be_focused()
    page.keyboard.press("Enter")
    # The first part is written, and the next one has the focus.
    expect(button(cell, "Accept change 1 of 2")).to_be_focused()
    assert page.evaluate(STATE)[0] == LOOP.replace("os", "math")
    page.keyboard.press("Tab")
    expect(button(cell, "Refuse change 1 of 2")).to_be_focused()
    page.keyboard.press("Enter")
    # The last one needs no buttons beside those of the bar.
    expect(button(cell, "Accept change 1 of 1")).to_have_count(0)
    page.keyboard.press("Alt+Shift+y")
    assert outcome(page) == "partly"
    assert page.evaluate(STATE)[0] == EDITED.replace(" * 2", "")
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+z")
    assert page.evaluate(STATE)[0] == LOOP
    propose(page, "source", 0, EDITED)
    expect(button(cell, ACCEPT)).to_be_visible()
    page.keyboard.press("Alt+Shift+n")
    assert outcome(page) == "refused"


def test_edits_from_elsewhere_move_or_withdraw_parts(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "diff-edits.ipynb", LOOP)
    cell = cells.first
    write = """([from, to, text]) => window.jupyterapp.shell.currentWidget.content.widgets[0]
        .model.sharedModel.updateSource(from, to, text)"""
    propose(page, "source", 0, EDITED)
    expect(button(cell, ACCEPT)).to_be_visible()
    # A new first line moves all parts; an edit of the loop withdraws one.
    page.evaluate(write, [0, 0, "# first\n"])
    at = ("# first\n" + LOOP).index("+= x")
    page.evaluate(write, [at, at + 4, "+= 2"])
    expect(cell.get_by_role("status")).to_have_text(
        "Tester proposes 2 changes. 1 was withdrawn: the cell was edited there."
    )
    assert lines(cell, "removed") == ["import os"]
    button(cell, ACCEPT).click()
    assert outcome(page) == "partly"
    assert page.evaluate(STATE)[0] == "# first\n" + EDITED.replace("x * 2", "2")
    # A whole new text ends the proposal with a notice.
    propose(page, "source", 0, "nothing = 0")
    expect(button(cell, ACCEPT)).to_be_visible()
    page.evaluate(write, [0, 1000, ""])
    assert outcome(page) == "refused"
    expect(page.get_by_text("The proposal of Tester was withdrawn")).to_be_visible()


def test_a_proposal_grows_while_it_is_written(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "diff-stream.ipynb", LOOP)
    cell = cells.first
    first = "\n".join(DOCUMENTED.split("\n")[:2])
    propose(page, "source", 0, f"import os|{first}|{DOCUMENTED}")
    expect(button(cell, "Stop and refuse")).to_be_visible()
    assert lines(cell, "removed") == lines(cell, "added") == []
    page.evaluate("window.more()")
    expect(cell.locator(".jpo-diff-added-line")).to_have_text(
        ["# The sum of the numbers below three."]
    )
    # The lines that are not reached yet are not shown as removed.
    assert lines(cell, "removed") == []
    expect(button(cell, ACCEPT)).to_have_count(0)
    page.evaluate("window.more()")
    page.evaluate("window.more()")
    button(cell, ACCEPT).click()
    assert outcome(page) == "accepted"
    assert page.evaluate(STATE)[0] == DOCUMENTED


def test_new_cells_and_deletions_are_proposals_too(page: Page, lab: Server) -> None:
    cells = open_notebook(page, lab, "diff-cells.ipynb", "a = 1", "b = 2")
    propose(page, "cell", 1, "between = 1\n")
    expect(cells.first.locator(".jpo-diff-added-line").first).to_have_text("between = 1")
    assert saved_sources(lab, page, "diff-cells.ipynb") == ["a = 1", "b = 2"]
    button(cells.first, REFUSE).click()
    assert outcome(page) == "refused"
    propose(page, "cell", 0, "# Title", "markdown")
    expect(cells.first).to_contain_text("Tester proposes a new Markdown cell.")
    button(cells.first, ACCEPT).click()
    assert outcome(page) == "accepted"
    assert saved_sources(lab, page, "diff-cells.ipynb") == ["# Title", "a = 1", "b = 2"]
    propose(page, "cell", 3, "c = 3")
    button(cells.last, ACCEPT).click()
    assert outcome(page) == "accepted"
    # Two new cells at one place keep their order, whichever is accepted first.
    propose(page, "cell", 4, "d = 4")
    propose(page, "cell", 4, "e = 5")
    expect(button(cells.nth(3), ACCEPT)).to_have_count(2)
    button(cells.nth(3), ACCEPT).first.click()
    button(cells.nth(4), ACCEPT).click()
    expected = ["# Title", "a = 1", "b = 2", "c = 3", "d = 4", "e = 5"]
    assert saved_sources(lab, page, "diff-cells.ipynb") == expected
    propose(page, "deletion", 1)
    expect(cells.nth(1)).to_contain_text("Tester proposes to delete this cell.")
    button(cells.nth(1), REFUSE).click()
    assert outcome(page) == "refused"
    expect(cells).to_have_count(6)
    propose(page, "deletion", 1)
    # The keys of the notebook do not reach a cell whose buttons have the focus.
    button(cells.nth(1), REFUSE).focus()
    page.keyboard.press("d")
    page.keyboard.press("d")
    expect(cells).to_have_count(6)
    button(cells.nth(1), ACCEPT).click()
    assert outcome(page) == "accepted"
    assert saved_sources(lab, page, "diff-cells.ipynb") == [
        source for source in expected if source != "a = 1"
    ]


def test_cells_of_any_kind_and_out_of_view(page: Page, lab: Server) -> None:
    v4 = nbformat.v4
    long = "\n".join(f"value_{number} = {number}" for number in range(150))
    locked = v4.new_code_cell("locked = 1", metadata={"editable": False, "deletable": False})
    nodes = [v4.new_markdown_cell("# Old"), v4.new_raw_cell("raw"), v4.new_code_cell(""), locked]
    filler = [v4.new_code_cell(long) for _ in range(3)]
    name = "diff-kinds.ipynb"
    cells = open_notebook(page, lab, name, *nodes, *filler, v4.new_code_cell("last = 1"))
    markdown, raw, empty = cells.nth(0), cells.nth(1), cells.nth(2)
    expect(markdown.locator("h1")).to_contain_text("Old")
    propose(page, "source", 0, "# New")
    expect(markdown.locator(".jpo-diff-added-line")).to_have_text("# New")
    button(markdown, REFUSE).click()
    expect(markdown.locator("h1")).to_contain_text("Old")
    propose(page, "source", 1, "text")
    button(raw, ACCEPT).click()
    assert outcome(page) == "accepted"
    propose(page, "source", 2, "x = 1\ny = 2")
    expect(button(empty, ACCEPT)).to_be_visible()
    assert lines(empty, "removed") == []
    button(empty, ACCEPT).click()
    assert outcome(page) == "accepted"
    propose(page, "source", 3, "open = 1")
    assert outcome(page) == "The cell is read-only."
    propose(page, "deletion", 3)
    assert outcome(page) == "The cell is protected from deletion."
    # The change at the end of a long cell is reached by the key.
    changed = long.replace("value_3 =", "three =").replace("value_149 =", "last =")
    propose(page, "source", 4, changed)
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 4")
    cells.nth(4).locator(".cm-content").click(position={"x": 5, "y": 5})
    page.keyboard.press("Alt+Shift+j")
    expect(button(cells.nth(4), "Accept change 1 of 2")).to_be_focused()
    page.keyboard.press("Alt+Shift+j")
    expect(button(cells.nth(4), "Accept change 2 of 2")).to_be_in_viewport()
    page.evaluate("window.end()")
    assert outcome(page) == "refused"
    # A cell that has not been in view yet shows its proposal when it is.
    propose(page, "source", 7, "last = 2")
    page.evaluate("window.jupyterapp.shell.currentWidget.content.scrollToItem(7)")
    shown = page.locator(".jp-Cell.jpo-proposing")
    expect(shown.locator(".jpo-diff-added-line")).to_have_text("last = 2")
    button(shown, ACCEPT).click()
    assert outcome(page) == "accepted"
    sources = saved_sources(lab, page, name)
    assert sources == ["# Old", "text", "x = 1\ny = 2", "locked = 1", *[long] * 3, "last = 2"]
