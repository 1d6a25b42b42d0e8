"""The administrator's settings of the agent bound a model that works in JupyterLab."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from agent_models import Answer
from agent_notebook import AgentNotebook, Posted, agent_notebook
from agent_server import agent_server, prepare
from chat_panel import answered, show_list
from jupyterlab_page import wait_until
from playwright.sync_api import Browser, expect
from run_notebook import Server

SCRIPT = str(Path(__file__).parents[1] / "small_mcp_server.py")
RUN = {"tool": "run_cell", "cell": "code"}
TASKS: dict[str, Sequence[Answer]] = {
    "run-thrice": [[RUN, {"tool": "mcp_small_fail"}, RUN], "I did what I could."],
    "run-once": [RUN, "It has run."],
    "read-on": [{"tool": "read_cell", "cell": f"cell number {n}"} for n in range(40)],
}
SLEEP = "import time\nfor _ in range(6000):\n    time.sleep(0.1)"
TOKENS = 150


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the servers' files, conversations included."""
    home = tmp_path_factory.mktemp("policy")
    prepare(home, TASKS)
    return home


@pytest.fixture(scope="module")
def free_lab(home: Path) -> Iterator[Server]:
    """A server that lets models run cells without a question, within a budget."""
    traits = {"agent_run_policy": "allow", "agent_max_tokens": TOKENS, "agent_max_minutes": 0.2}
    with agent_server(home, **traits) as server:
        yield server


@pytest.fixture(scope="module")
def free_desk(browser: Browser, free_lab: Server) -> Iterator[AgentNotebook]:
    """One page of the server without questions."""
    with agent_notebook(browser, free_lab) as notebook:
        yield notebook


def test_a_model_runs_nothing_and_has_only_the_tools_and_steps_that_are_set(
    browser: Browser, home: Path
) -> None:
    servers = {"small": {"command": sys.executable, "args": [SCRIPT], "tools": ["add", "fail"]}}
    traits = {
        "agent_run_policy": "never",
        "agent_tools": ["read_cell", "run_cell", "mcp:small.add"],
        "agent_max_steps": 2,
        "mcp_servers": servers,
    }
    with agent_server(home, **traits) as server, agent_notebook(browser, server) as desk:
        posted = Posted(desk.page)
        desk.open("policy-never.ipynb", [{"id": "code", "source": "1 + 1"}])
        desk.ask("agent", "Agent", "run-thrice")
        # No step is a question.
        assert desk.wait_for_decision() == "end"
        assert desk.runs == []
        (request,) = posted.bodies("/api/chat")
        names = [tool["function"]["name"] for tool in request["tools"]]
        assert names == ["read_cell", "mcp_small_add"]
        assert posted.bodies("/api/mcp/call") == []
        run, call, last = desk.turn.locator(".jpo-step").all()
        for step in (run, call, last):
            step.locator("summary").click()
        expect(run).to_contain_text('no tool "run_cell". The tools: read_cell, mcp_small_add.')
        expect(call).to_contain_text('no tool "mcp_small_fail".')
        expect(last).to_contain_text("The call was not made.")
        expect(desk.turn).to_contain_text("Ended: the steps of the budget are used up.")
        # The user's own setting is 30.
        expect(desk.turn).to_contain_text("2 of 2 steps")
        expect(desk.chat).to_contain_text("The administrator does not let models run cells.")
        agent = desk.chat.get_by_title("The model works step by step, and runs no cell")
        expect(agent).to_have_text("Agent")
        desk.close()


def test_a_model_that_may_runs_cells_without_a_question(free_desk: AgentNotebook) -> None:
    desk = free_desk
    desk.open("policy-allow.ipynb", [{"id": "code", "source": "1 + 1"}])
    desk.ask("agent", "Agent", "run-once")
    assert desk.wait_for_decision() == "end"
    assert desk.runs == ["1 + 1"]
    note = desk.chat.get_by_text("The administrator lets models run cells without a question.")
    expect(note).to_be_visible()
    desk.chat.get_by_role("radio", name="Edit", exact=True).check()
    expect(note).to_have_count(0)
    desk.close()


def test_the_tokens_of_the_administrator_end_a_work(free_desk: AgentNotebook) -> None:
    desk = free_desk
    desk.open("policy-tokens.ipynb", [{"id": "code", "source": "1 + 1"}])
    desk.ask("agent", "Agent", "read-on")
    assert desk.wait_for_decision() == "end"
    expect(desk.turn).to_contain_text("Ended: the tokens of the budget are used up.")
    expect(desk.turn).to_contain_text(f"of {TOKENS} tokens")
    assert 1 < desk.turn.locator(".jpo-step").count() < len(TASKS["read-on"])
    desk.close()


def test_the_minutes_of_the_administrator_interrupt_a_cell(free_desk: AgentNotebook) -> None:
    desk = free_desk
    desk.open("policy-minutes.ipynb", [{"id": "code", "source": SLEEP}])
    desk.ask("agent", "Agent", "run-once")
    desk.ended()
    expect(desk.turn).to_contain_text("Ended: the time of the budget is over.")
    expect(desk.turn).to_contain_text("0.2 of 0.2 min")
    assert desk.runs == [SLEEP]
    wait_until(desk.page, lambda: "KeyboardInterrupt" in str(desk.cells[0]["outputs"]))
    desk.close()


def test_a_mode_without_tools_is_switched_off_also_in_an_earlier_conversation(
    browser: Browser, home: Path
) -> None:
    with agent_server(home) as server, agent_notebook(browser, server) as desk:
        desk.open("policy-before.ipynb", [{"id": "code", "source": "1 + 1"}])
        desk.ask("agent", "Agent", "run-once before it is forbidden")
        assert desk.wait_for_decision() == "run"
        with desk.page.expect_response(
            lambda response: '"stopped":true' in str(response.request.post_data)
        ):
            desk.chat.get_by_role("button", name="Stop").click()
        desk.close()
    with (
        agent_server(home, agent_tools=[]) as server,
        agent_notebook(browser, server) as desk,
    ):
        posted = Posted(desk.page)
        desk.open("policy-none.ipynb", [{"id": "code", "source": "1 + 1"}])
        chat = desk.chat
        desk.ask("agent", "Ask", "run-once")
        answered(chat)
        assert not any("tools" in body for body in posted.bodies("/api/chat"))
        for mode in ("Edit", "Agent"):
            expect(chat.get_by_role("radio", name=mode, exact=True)).to_be_disabled()
        expect(chat.get_by_title("The administrator does not allow this mode")).to_have_count(2)
        show_list(chat).filter(has_text="before it is forbidden").locator(".jpo-open").click()
        expect(chat.get_by_role("radio", name="Agent", exact=True)).to_be_checked()
        problem = "The administrator does not allow this mode. Choose Ask."
        expect(chat.get_by_text(problem)).to_be_visible()
        chat.get_by_role("textbox", name="Your question").fill("Do it")
        expect(chat.get_by_role("button", name="Send")).to_be_disabled()
        chat.get_by_role("radio", name="Ask", exact=True).check()
        expect(chat.get_by_role("button", name="Send")).to_be_enabled()
        desk.close()
