"""The panel, the status item and the running section of models in JupyterLab."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from jupyterlab_page import open_lab
from peers import dripping, faulty_registry
from playwright.sync_api import Locator, Page, Response, Route, expect
from run_notebook import Server
from scripted_model import write_scripts

SETTINGS = "/lab/api/settings/jupyter-ollama:client"


def open_models(page: Page) -> Locator:
    """Show the panel of models."""
    page.locator('[data-id="jupyter-ollama-models"]').click()
    return page.locator("#jupyter-ollama-models")


def test_a_model_is_loaded_pinned_and_unloaded(jupyterlab: Page, lab: Server) -> None:
    panel = open_models(jupyterlab)
    panel.get_by_role("button", name="Load coder:latest", exact=True).click()
    status = jupyterlab.locator(".jpo-status-button")
    expect(status).to_contain_text("coder")
    panel.get_by_role("tab", name="Loaded").click()
    panel.get_by_role("button", name="Pin coder:latest", exact=True).click()
    expect(panel.get_by_role("button", name="Unpin coder:latest")).to_be_visible()
    expect(panel.get_by_text("pinned")).to_be_visible()
    # The panel of running sessions lists it, too.
    jupyterlab.locator('[data-id="jp-running-sessions"]').click()
    running = jupyterlab.get_by_role("region", name="Models Section")
    entry = running.locator(".jp-RunningSessions-item", has_text="coder")
    entry.hover()
    entry.get_by_title("Unload").click()
    expect(entry).to_have_count(0)
    expect(status).to_be_hidden()
    assert lab.call("GET", "/ollama/api/ps")["models"] == []
    status_item_opens_the_panel(jupyterlab, lab)


def status_item_opens_the_panel(page: Page, lab: Server) -> None:
    """Check the status item of a model that is loaded elsewhere, and click it."""
    lab.call("POST", "/ollama/api/generate", {"model": "filler", "stream": False})
    page.locator(".jpo-status-button", has_text="filler").click()
    expect(page.locator("#jupyter-ollama-models")).to_be_visible()


def test_a_model_is_copied_shown_and_deleted(jupyterlab: Page) -> None:
    panel = open_models(jupyterlab)
    panel.get_by_role("button", name="Copy coder:latest").click()
    jupyterlab.get_by_role("textbox", name="New name").fill("second")
    jupyterlab.locator(".jp-Dialog .jp-mod-accept").click()
    panel.get_by_role("button", name="Details of second:latest").click()
    expect(panel.get_by_text("Capabilities")).to_be_visible()
    panel.get_by_role("button", name="Delete second:latest").click()
    jupyterlab.locator(".jp-Dialog").get_by_role("button", name="Cancel").click()
    expect(panel.get_by_text("second:latest")).to_be_visible()
    panel.get_by_role("button", name="Delete second:latest").click()
    jupyterlab.locator(".jp-Dialog .jp-mod-warn").click()
    expect(panel.get_by_text("second:latest")).to_have_count(0)


def test_a_failed_pull_says_why_and_can_be_cancelled(jupyterlab: Page) -> None:
    panel = open_models(jupyterlab)
    panel.get_by_role("tab", name="Library").click()
    # No server listens on this port.
    panel.get_by_role("searchbox", name="Search, or name a model to pull").fill(
        "127.0.0.1:9/library/none"
    )
    panel.get_by_role("button", name="Pull", exact=True).click()
    expect(panel.get_by_role("status").filter(has_text="Failed: ")).to_be_visible()
    panel.get_by_role("button", name="Resume 127.0.0.1:9/library/none").click()
    expect(panel.get_by_role("status").filter(has_text="Failed: ")).to_be_visible()
    panel.get_by_role("button", name="Cancel 127.0.0.1:9/library/none").click()
    expect(panel.get_by_text("127.0.0.1:9/library/none")).to_have_count(0)


def test_a_pull_is_paused_resumed_and_cancelled(jupyterlab: Page, lab: Server) -> None:
    content = random.Random(1).randbytes(1_200_000)
    with faulty_registry() as registry:
        registry.publish("library/slow", content)
        # It would take a minute.
        registry.always = dripping(1, 20_000)
        name = f"http://{registry.host}/library/slow"
        panel = open_models(jupyterlab)
        panel.get_by_role("tab", name="Library").click()
        panel.get_by_role("searchbox", name="Search, or name a model to pull").fill(name)
        panel.get_by_role("button", name="Pull", exact=True).click()
        transfer = panel.get_by_role("group", name=name)
        layer = transfer.get_by_role("progressbar").first
        expect(layer).not_to_have_attribute("value", "0")
        panel.get_by_role("button", name=f"Pause {name}").click()
        expect(transfer.get_by_role("status")).to_have_text("paused")
        received = float(layer.get_attribute("value") or 0)
        assert 0 < received < len(content)
        panel.get_by_role("button", name=f"Resume {name}").click()
        panel.get_by_role("button", name=f"Cancel {name}").click()
        expect(transfer).to_have_count(0)
        # A new pull resumes at the same byte.
        registry.always = None
        sent = registry.sent
        panel.get_by_role("searchbox", name="Search, or name a model to pull").fill(name)
        panel.get_by_role("button", name="Pull", exact=True).click()
        expect(jupyterlab.get_by_text(f"{name} is installed.")).to_be_visible()
        assert registry.sent - sent < len(content)
    panel.get_by_role("tab", name="Installed").click()
    panel.get_by_role("button", name=f"Delete {registry.host}/library/slow:latest").click()
    jupyterlab.locator(".jp-Dialog .jp-mod-warn").click()
    expect(panel.get_by_text("slow:latest")).to_have_count(0)


def test_models_are_created_from_files_and_modelfiles(
    jupyterlab: Page, lab: Server, tmp_path: Path
) -> None:
    gguf = write_scripts(tmp_path / "tiny.gguf", {"SAY": "hello"})
    panel = open_models(jupyterlab)
    panel.get_by_role("tab", name="Library").click()
    panel.get_by_text("Create a model").click()
    panel.get_by_label("Name", exact=True).fill("tiny")
    panel.get_by_label("Files: GGUF, Modelfile").set_input_files(gguf)
    held: list[Route] = []
    jupyterlab.route("**/api/create*", lambda route: held.append(route), times=1)
    with jupyterlab.expect_request("**/api/create*"):
        panel.get_by_role("button", name="Create", exact=True).click()
    transfer = panel.get_by_role("group", name="tiny")
    expect(transfer.get_by_role("status")).to_have_text("uploading tiny.gguf")
    bar = transfer.get_by_role("progressbar")
    expect(bar).to_have_attribute("value", str(gguf.stat().st_size))
    held[0].continue_()
    expect(jupyterlab.get_by_text("tiny is installed.")).to_be_visible()
    panel.get_by_label("Name", exact=True).fill("polite")
    panel.get_by_label("Files: GGUF, Modelfile").set_input_files([])
    modelfile = "FROM tiny\nSYSTEM Be polite.\nPARAMETER temperature 0.5\n"
    panel.get_by_label("Modelfile", exact=True).fill(modelfile)
    panel.get_by_role("button", name="Create", exact=True).click()
    expect(jupyterlab.get_by_text("polite is installed.")).to_be_visible()
    assert lab.call("POST", "/ollama/api/show", {"model": "polite"})["system"] == "Be polite."
    for model in ("tiny", "polite"):
        lab.call("DELETE", "/ollama/api/delete", {"model": model})


def is_answer_to(question: str) -> Callable[[Response], bool]:
    """Return a predicate of responses: whether they answer a request of the Ollama API."""
    return lambda response: f"/ollama/api/{question}?" in response.url


def test_an_open_panel_is_no_activity(page: Page, lab: Server) -> None:
    lab.call("PUT", SETTINGS, {"raw": '{"refreshSeconds": 1}'})
    open_lab(page, lab)
    panel = open_models(page)
    expect(panel.get_by_text("coder:latest")).to_be_visible()
    lab.call("PUT", SETTINGS, {"raw": "{}"})
    # JupyterLab's own polls do count as activity.
    page.route(lambda url: "/ollama/" not in url, lambda route: route.abort())
    for _ in range(2):
        page.wait_for_event("response", is_answer_to("ps"))
    before = lab.call("GET", "/api/status?no_track_activity=1")["last_activity"]
    polls: list[str] = []
    page.on("response", lambda response: polls.append(response.url))
    for _ in range(3):
        page.wait_for_event("response", is_answer_to("tags"))
    asked = {url.partition("?")[0].rpartition("/")[2] for url in polls}
    assert asked == {"ps", "requests", "tags"}
    assert lab.call("GET", "/api/status?no_track_activity=1")["last_activity"] == before


def refuse(route: Route) -> None:
    """Respond as a server without the extension."""
    route.fulfill(status=404, json={"message": "Not Found"})


INTERVAL, POLLS = 3000, 30
"""Milliseconds between two polls of a server that responds, and the number of polls to wait."""
FAULTS: list[tuple[Callable[[Route], None], str, str]] = [
    (refuse, "This server does not have jupyter-ollama.", "Its models cannot be used here."),
    (Route.abort, "The server cannot be reached.", "The models of this server cannot be reached."),
]


@pytest.mark.parametrize(("fault", "panel_text", "toast_text"), FAULTS, ids=["missing", "down"])
def test_a_server_without_models_is_reported_once(
    page: Page, lab: Server, fault: Callable[[Route], None], panel_text: str, toast_text: str
) -> None:
    asked: list[str] = []
    logged: list[str] = []

    def fail(route: Route) -> None:
        asked.append(route.request.url.partition("?")[0].rpartition("/")[2])
        fault(route)

    page.route(lambda url: "/ollama/" in url, fail)
    page.on("console", lambda message: logged.append(message.text))
    page.clock.install()
    open_lab(page, lab)
    toast = page.locator(".Toastify__toast", has_text=toast_text)
    expect(toast).to_have_count(1)
    panel = open_models(page)
    expect(panel.get_by_text(panel_text)).to_be_visible()
    # One failed request suffices: the others are not sent.
    assert set(asked) == {"usage", "ps"}
    before = len(asked)
    for _ in range(POLLS):
        page.clock.run_for(INTERVAL)
        page.wait_for_timeout(20)
    if fault is refuse:
        assert len(asked) == before
    else:
        # It may recover, and is polled less and less often.
        assert 1 <= len(asked) - before < POLLS * 3 / 4
    expect(page.locator(".jp-Notification-Status-Text")).to_have_text("1")
    # The browser logs each error response, and JupyterLab logs slow plugins.
    theirs = re.compile(r"Failed to load resource|took [\d.]+ ?ms to activate")
    assert not [text for text in logged if "ollama" in text and not theirs.search(text)]
