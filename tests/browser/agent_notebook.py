"""A notebook in JupyterLab that a model works in, and what has happened to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import nbformat
from jupyterlab_page import open_lab, use_theme, wait_until
from playwright.sync_api import Browser, Locator, Page, Request, expect
from run_notebook import Server

WATCH = """async path => {
  await jupyterapp.restored;
  const panel = await jupyterapp.commands.execute('docmanager:open', { path });
  await panel.revealed;
  await panel.sessionContext.ready;
  const { kernel } = panel.sessionContext.session;
  await kernel.info;
  const runs = [];
  kernel.anyMessage.connect((_, { msg, direction }) => {
    const { content, header } = msg;
    if (direction === 'send' && header.msg_type === 'execute_request' && !content.silent) {
      runs.push(content.code);
    }
  });
  window.watched = { panel, runs };
}"""
"""Open a notebook, and note the code that its kernel gets."""
STATE = """() => {
  const { panel, runs } = window.watched;
  return { cells: panel.model.sharedModel.cells.map(cell => cell.toJSON()), runs: [...runs] };
}"""
CLOSE = """async () => {
  const { panel } = window.watched;
  await panel.context.save();
  await panel.sessionContext.shutdown();
  panel.dispose();
}"""
RUN = """async ids => {
  const { panel } = window.watched;
  for (const id of ids) {
    const { content } = panel;
    content.activeCellIndex = content.widgets.findIndex(cell => cell.model.id === id);
    await jupyterapp.commands.execute('notebook:run-cell');
  }
}"""


@contextmanager
def agent_notebook(browser: Browser, server: Server) -> Iterator[AgentNotebook]:
    """Open JupyterLab on a page of its own, in the light theme."""
    use_theme(server, "Light")
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    page = context.new_page()
    open_lab(page, server)
    yield AgentNotebook(page, server)
    context.close()


class Posted:
    """The requests that a page has sent by POST."""

    def __init__(self, page: Page) -> None:
        self._requests: list[Request] = []
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if request.method == "POST":
            self._requests.append(request)

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """Return the bodies of the requests to a route, such as "/api/chat", in their order."""
        return [
            request.post_data_json
            for request in self._requests
            if request.url.partition("?")[0].endswith(path)
        ]


class AgentNotebook:
    """A notebook, open in JupyterLab, with the chat beside it."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.chat = page.locator("#jupyter-ollama-chat")

    def open(self, name: str, cells: Sequence[Mapping[str, Any]]) -> None:
        """Write a notebook with cells {id, type, source, run}, open it, and run some of them."""
        nodes = []
        for cell in cells:
            kind = cell.get("type", "code")
            make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
            nodes.append(make(cell["source"], id=cell["id"], metadata=cell.get("metadata", {})))
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = nbformat.v4.new_notebook(cells=nodes, metadata={"kernelspec": kernel})
        self.server.call("PUT", f"/api/contents/{name}", {"type": "notebook", "content": content})
        self.page.evaluate(WATCH, name)
        ran = [cell["id"] for cell in cells if cell.get("run")]
        self.page.evaluate(RUN, ran)
        wait_until(self.page, lambda: len(self.runs) == len(ran))
        self.page.wait_for_function(
            "() => window.watched.panel.sessionContext.session.kernel.status === 'idle'"
        )

    def close(self) -> None:
        """Save and close the notebook, and shut down its kernel."""
        self.page.evaluate(CLOSE)

    @property
    def cells(self) -> list[dict[str, Any]]:
        """The cells as they would be saved."""
        cells: list[dict[str, Any]] = self.page.evaluate(STATE)["cells"]
        return cells

    @property
    def sources(self) -> list[str]:
        """The texts of the cells."""
        return [cell["source"] for cell in self.cells]

    @property
    def runs(self) -> list[str]:
        """The code that the kernel has got."""
        runs: list[str] = self.page.evaluate(STATE)["runs"]
        return runs

    @property
    def turn(self) -> Locator:
        """The last answer."""
        return self.chat.locator(".jpo-turn-assistant").last

    @property
    def question(self) -> Locator:
        """The question whether a cell may run, or a tool of an MCP server be called."""
        return self.chat.locator(".jpo-question-card")

    @property
    def proposal(self) -> Locator:
        """The bar of a proposed change in the notebook."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jpo-proposal-bar")

    def ask(self, model: str, mode: str, text: str) -> None:
        """Start a new conversation with a model in a mode."""
        if not self.chat.is_visible():
            self.page.locator('[data-id="jupyter-ollama-chat"]').click()
        new = self.chat.locator(".jpo-header").get_by_role("button", name="New chat")
        if new.is_visible():
            new.press("Enter")
        self.chat.get_by_role("combobox", name="Model").select_option(f"{model}:latest")
        self.chat.get_by_role("radio", name=mode, exact=True).check()
        question = self.chat.get_by_role("textbox", name="Your question")
        question.fill(text)
        question.press("Enter")

    def step(self, name: str) -> Locator:
        """Return a step of the last answer by its name."""
        return self.turn.locator(".jpo-step").filter(has=self.page.get_by_text(name, exact=True))

    def wait_for_decision(self) -> str:
        """Wait until a change or a run waits for the user, or the work has ended; say which."""
        either = self.question.or_(self.proposal).or_(
            self.chat.get_by_role("button", name="Regenerate")
        )
        expect(either.first).to_be_visible()
        if self.question.is_visible():
            return "run"
        return "change" if self.proposal.is_visible() else "end"

    def accept(self) -> None:
        """Accept the proposed change, and wait until it is gone."""
        bar = self.proposal.element_handle()
        self.proposal.get_by_role("button", name="Accept all changes").click()
        assert bar
        bar.wait_for_element_state("hidden")

    def allow(self, answer: str = "Run once") -> None:
        """Answer the question, and wait until it is gone."""
        card = self.question.element_handle()
        self.question.get_by_role("button", name=answer, exact=True).click()
        assert card
        card.wait_for_element_state("hidden")

    def ended(self) -> None:
        """Wait until the work has ended."""
        expect(self.chat.get_by_role("button", name="Regenerate")).to_be_visible()
