"""A model that works in a notebook by tools, in JupyterLab: diffs, questions, runs and undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from agent_models import write_agent
from agent_notebook import WATCH, AgentNotebook, agent_notebook
from agent_tasks import EVIL, INJECTED
from agent_tasks import TASKS as OTHER_TASKS
from jupyterlab_page import reload_lab, wait_until
from playwright.sync_api import Browser, expect
from run_notebook import Server
from store_models import add_model

from jupyter_ollama.library.library import Library

SCRIPTS = Path(__file__).parents[1] / "data" / "agent_scripts"
TASKS: dict[str, dict[str, Any]] = {
    task["name"]: task
    for path in sorted(SCRIPTS.glob("*.yaml"))
    for task in yaml.safe_load(path.read_text())
}
SET_SOURCE = """([id, source]) => window.watched.panel.model.sharedModel.cells
  .find(cell => cell.getId() === id).setSource(source)"""


@pytest.fixture(scope="module")
def agent_lab(lab: Server, lab_home: Path) -> Iterator[Server]:
    """The server with the model "agent", which works by scripts; other modules do not see it."""
    tasks = {name: task["answers"] for name, task in TASKS.items()}
    path = write_agent(lab_home / "agent.gguf", {**tasks, **OTHER_TASKS})
    add_model(Library.open(lab_home / "models"), "agent", path)
    yield lab
    lab.call("DELETE", "/ollama/api/delete", {"model": "agent"})


@pytest.fixture(scope="module")
def desk(browser: Browser, agent_lab: Server) -> Iterator[AgentNotebook]:
    """One page for all tests."""
    with agent_notebook(browser, agent_lab) as notebook:
        yield notebook


@pytest.mark.parametrize("name", TASKS)
def test_a_task_changes_and_runs_only_what_is_allowed(
    name: str, desk: AgentNotebook, agent_lab: Server
) -> None:
    task = TASKS[name]
    for file, text in task.get("files", {}).items():
        body = {"type": "file", "format": "text", "content": text}
        agent_lab.call("PUT", f"/api/contents/{file}", body)
    desk.open(f"agent-{name}.ipynb", task["cells"])
    known = (desk.sources, desk.runs)
    desk.ask("agent", "Agent", f"Please do {name}.")
    while (waits := desk.wait_for_decision()) != "end":
        # Nothing has changed or run since the last decision.
        assert (desk.sources, desk.runs) == known
        if waits == "change":
            desk.accept()
            known = (desk.sources, desk.runs)
        else:
            code = desk.question.locator("pre").inner_text()
            desk.allow()
            known = (known[0], [*known[1], code])
    assert (desk.sources, desk.runs) == known
    expect(desk.turn).to_contain_text(task["answers"][-1])
    cells = desk.cells
    assert [cell["source"] for cell in cells] == [one["source"] for one in task["after"]]
    for cell, expected in zip(cells, task["after"], strict=True):
        outputs = str(cell.get("outputs"))
        assert expected.get("output", "") in outputs
        assert ("image/png" in outputs) == expected.get("picture", False)
    desk.close()


def test_a_cell_runs_only_as_it_was_shown(desk: AgentNotebook) -> None:
    desk.open("agent-shown.ipynb", [{"id": "code", "source": "1 + 1"}])
    desk.ask("agent", "Agent", "try-run")
    assert desk.wait_for_decision() == "run"
    expect(desk.question.locator("pre")).to_have_text("1 + 1")
    desk.page.evaluate(SET_SOURCE, ["code", "2 + 2"])
    desk.question.get_by_role("button", name="Run once").click()
    # The user is asked again, since the cell is another one.
    expect(desk.question.locator("pre")).to_have_text("2 + 2")
    assert desk.runs == []
    desk.allow("Never")
    desk.ended()
    assert desk.runs == []
    expect(desk.step("Run cell 1")).to_contain_text("refused")
    desk.close()


def test_always_holds_for_one_notebook_until_it_is_taken_back(desk: AgentNotebook) -> None:
    cells = [{"id": "code", "source": "1 + 1"}, {"id": "more", "source": "2 + 2"}]
    desk.open("agent-always.ipynb", cells)
    desk.ask("agent", "Agent", "run-twice")
    assert desk.wait_for_decision() == "run"
    desk.allow("Always in this notebook")
    desk.ended()
    assert desk.runs == ["1 + 1", "2 + 2"]
    desk.turn.get_by_role("button", name="Ask again before a run").click()
    desk.ask("agent", "Agent", "run-twice")
    assert desk.wait_for_decision() == "run"
    desk.allow("Always in this notebook")
    desk.ended()
    desk.close()
    desk.open("agent-always-2.ipynb", cells)
    desk.ask("agent", "Agent", "try-run")
    assert desk.wait_for_decision() == "run"
    assert desk.runs == []
    desk.allow("Never")
    desk.ended()
    desk.close()


def test_stop_interrupts_the_cell_and_undo_restores_its_output(desk: AgentNotebook) -> None:
    source = "import time\nfor _ in range(6000):\n    time.sleep(0.1)"
    desk.open("agent-stop.ipynb", [{"id": "code", "source": source}])
    before = desk.cells
    desk.ask("agent", "Agent", "try-run")
    assert desk.wait_for_decision() == "run"
    desk.allow()
    kernel = "window.watched.panel.sessionContext.session.kernel.status"
    desk.page.wait_for_function(f"() => {kernel} === 'busy'")
    desk.chat.get_by_role("button", name="Stop").click()
    expect(desk.turn).to_contain_text("Ended: you stopped it.")
    desk.page.wait_for_function(f"() => {kernel} === 'idle'")
    wait_until(desk.page, lambda: "KeyboardInterrupt" in str(desk.cells[0]["outputs"]))
    desk.turn.get_by_role("button", name="Undo all (1 cell)").click()
    wait_until(desk.page, lambda: desk.cells[0]["outputs"] == [])
    assert desk.cells == before
    desk.close()


def test_a_part_is_accepted_and_all_is_undone(desk: AgentNotebook) -> None:
    cells = [
        {"id": "code", "source": "a = 1\nmiddle = 0\nb = 2"},
        {"id": "dead", "source": "unused = 1"},
        {"id": "text", "source": "# End", "type": "markdown"},
    ]
    desk.open("agent-undo.ipynb", cells)
    before = desk.cells
    desk.ask("agent", "Agent", "rework")
    assert desk.wait_for_decision() == "change"
    expect(desk.step("Change cell 1")).to_contain_text("waits for you")
    notebook = desk.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    notebook.get_by_role("button", name="Refuse change 2 of 2").click()
    # One change is left; nothing is written before it is accepted.
    assert desk.cells == before
    desk.accept()
    assert desk.sources[0] == "a = 2\nmiddle = 0\nb = 2"
    while (waits := desk.wait_for_decision()) != "end":
        desk.accept() if waits == "change" else desk.allow()
    assert [cell["id"] for cell in desk.cells[:2]] == ["code", "text"]
    assert "'text/plain': '4'" in str(desk.cells[2]["outputs"])
    # The user changes one of the cells, adds another, and keeps both.
    desk.page.evaluate(SET_SOURCE, ["code", "a = 20"])
    desk.turn.get_by_role("button", name="Undo all (3 cells)").click()
    dialog = desk.page.get_by_role("dialog")
    expect(dialog).to_contain_text("You have changed cell 1 since.")
    dialog.get_by_role("button", name="Cancel").click()
    assert len(desk.cells) == 3
    desk.turn.get_by_role("button", name="Undo all (3 cells)").click()
    dialog.get_by_role("button", name="Undo these too").click()
    wait_until(desk.page, lambda: len(desk.cells) == 3 and desk.cells == before)
    expect(desk.turn.get_by_role("button", name="Undo all")).to_have_count(0)
    desk.close()


@pytest.mark.parametrize("task", ["obey-output", "obey-file"])
def test_an_injected_text_runs_nothing(
    task: str, desk: AgentNotebook, agent_lab: Server, lab_home: Path
) -> None:
    body = {"type": "file", "format": "text", "content": INJECTED}
    agent_lab.call("PUT", "/api/contents/injected.txt", body)
    (lab_home / ".hidden.txt").write_text("a secret of the user")
    output = f"print({INJECTED!r})"
    cells = [{"id": "page", "source": output, "run": True}, {"id": "evil", "source": EVIL}]
    desk.open(f"agent-{task}.ipynb", cells)
    with desk.page.expect_request(
        lambda request: "/api/chat" in request.url and INJECTED in str(request.post_data)
    ):
        desk.ask("agent", "Agent", task)
        assert desk.wait_for_decision() == "run"
    expect(desk.question.locator("pre")).to_have_text(EVIL)
    assert desk.runs == [output]
    desk.allow("Never")
    while (waits := desk.wait_for_decision()) != "end":
        assert waits == "change"
        desk.proposal.get_by_role("button", name="Refuse all changes").click()
    assert desk.runs == [output]
    assert not (lab_home / "owned.txt").exists()
    assert [cell["source"] for cell in desk.cells] == [output, EVIL]
    log = desk.turn.locator(".jpo-work").inner_text()
    assert "a secret" not in log
    desk.close()


def test_the_mode_edit_changes_cells_and_runs_nothing(desk: AgentNotebook) -> None:
    desk.open("agent-edit.ipynb", [{"id": "evil", "source": EVIL}])
    desk.ask("agent", "Edit", "edit-only")
    assert desk.wait_for_decision() == "change"
    assert [desk.step(name).count() for name in ("run_cell", "Run cell")] == [0, 1]
    desk.accept()
    desk.ended()
    assert (desk.sources, desk.runs) == (["'harmless'"], [])
    failed = desk.turn.locator(".jpo-step[data-state=failed]")
    expect(failed).to_have_count(3)
    desk.close()


def test_a_model_without_tools_and_a_lab_without_a_notebook_say_so(desk: AgentNotebook) -> None:
    chat = desk.chat
    desk.open("agent-able.ipynb", [{"id": "code", "source": "1"}])
    desk.ask("agent", "Agent", "try-run")
    assert desk.wait_for_decision() == "run"
    chat.get_by_role("button", name="Stop").click()
    chat.get_by_role("combobox", name="Model").select_option("smollm2:latest")
    chat.get_by_role("textbox", name="Your question").fill("Do it")
    expect(chat.get_by_text("smollm2:latest cannot call tools.")).to_be_visible()
    expect(chat.get_by_role("button", name="Send")).to_be_disabled()
    chat.get_by_role("radio", name="Ask", exact=True).check()
    expect(chat.get_by_role("button", name="Send")).to_be_enabled()
    chat.get_by_role("radio", name="Agent", exact=True).check()
    chat.get_by_role("combobox", name="Model").select_option("agent:latest")
    expect(chat.get_by_role("button", name="Send")).to_be_enabled()
    desk.close()
    expect(chat.get_by_text("Open a notebook to work in.")).to_be_visible()
    expect(chat.get_by_role("button", name="Send")).to_be_disabled()


def test_the_steps_of_the_budget_end_a_work(desk: AgentNotebook, agent_lab: Server) -> None:
    cells = [{"id": "code", "source": "1 + 1"}, {"id": "more", "source": "2 + 2"}]
    desk.open("agent-steps.ipynb", cells)
    change = "steps => jupyterapp.serviceManager.settings.save('jupyter-ollama:client', steps)"
    desk.page.evaluate(change, '{"agentSteps": 1}')
    # The page reads its settings again with the next one that opens it.
    reload_lab(desk.page)
    desk.page.locator("#jupyterlab-splash").wait_for(state="detached")
    desk.page.evaluate(WATCH, "agent-steps.ipynb")
    desk.ask("agent", "Agent", "run-twice")
    assert desk.wait_for_decision() == "run"
    with desk.page.expect_response(
        lambda response: '"end":"steps"' in str(response.request.post_data)
    ):
        desk.allow()
        desk.ended()
    expect(desk.turn).to_contain_text("Ended: the steps of the budget are used up.")
    assert desk.runs == ["1 + 1"]
    # The work survives a reload, without its undo.
    reload_lab(desk.page)
    expect(desk.turn).to_contain_text("Ended: the steps of the budget are used up.")
    expect(desk.turn.get_by_role("button", name="Undo all")).to_have_count(0)
    desk.page.evaluate(WATCH, "agent-steps.ipynb")
    desk.page.evaluate(change, "{}")
    desk.close()
