"""The widgets that manage models."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as ipw
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics import Client
from jupyter_ollama_magics.widgets import ModelManager, PullProgress
from scripted_server import ScriptedServer
from widget_tree import inside, press, texts, until

LAYER = {"status": "pulling 2bada8a74506", "digest": "sha256:2bada8a74506", "total": 4_000_000_000}
BEGIN = [{"status": "pulling manifest"}, {**LAYER, "completed": 1_000_000_000}]
END = [{**LAYER, "completed": 4_000_000_000}, {"status": "success"}]


def bars(widget: ipw.Widget) -> list[float]:
    return [one.value for one in inside(widget) if isinstance(one, ipw.FloatProgress)]


def test_a_pull_shows_a_bar_for_each_layer(server: ScriptedServer, shell: InteractiveShell) -> None:
    server.steps = [*BEGIN, 0.3, *END]
    pull = PullProgress("llama3", insecure=True)
    until(lambda: bars(pull) == [0.25])
    assert "1 GB of 4 GB" in texts(pull)
    until(lambda: pull.state == "done")
    assert bars(pull) == [1.0]
    assert {"Pulled llama3.", "pulling 2bada8a74506", "4 GB"} <= {*texts(pull)}
    assert server.bodies("/api/pull") == [{"model": "llama3", "insecure": True}]


def test_a_pull_is_cancelled(server: ScriptedServer, shell: InteractiveShell) -> None:
    server.steps = [*BEGIN, 60]
    pull = PullProgress("llama3")
    until(lambda: bars(pull) == [0.25])
    press(pull, "Stop pulling llama3")
    assert server.disconnected.wait(10)
    until(lambda: pull.state == "cancelled")
    assert bars(pull) == [0.25]


def test_a_failed_pull_shows_its_error(server: ScriptedServer, shell: InteractiveShell) -> None:
    server.steps = [BEGIN[0], {"error": "pull model manifest: file does not exist"}]
    pull = PullProgress("nothing")
    until(lambda: pull.state == "failed")
    assert "Pulling nothing failed: pull model manifest: file does not exist" in texts(pull)


def test_the_manager_pulls(server: ScriptedServer, shell: InteractiveShell) -> None:
    server.steps = [*BEGIN, *END]
    manager = ModelManager()
    until(lambda: "smollm2:135m" in texts(manager))
    assert {"135M", "Q8_0", "145 MB", "always"} <= {*texts(manager)}
    server.models.append({**server.models[0], "name": "llama3:latest"})
    next(one for one in inside(manager) if isinstance(one, ipw.Text)).value = "llama3"
    press(manager, "Have the server download this model")
    until(lambda: "llama3" in texts(manager))
    assert "Pulled llama3." in texts(manager)


@pytest.mark.parametrize("name", ["coder", "all-minilm"])
def test_the_manager_loads_unloads_and_deletes(
    connect: Callable[..., Client], chat_server: str, chat_shell: InteractiveShell, name: str
) -> None:
    client = connect(chat_server)
    client.copy(name, f"copied-{name}")
    copied = f"copied-{name}:latest"
    manager = ModelManager()
    press(manager, f"Load {copied}")
    until(lambda: copied in [model["name"] for model in client.ps()])
    press(manager, f"Take from memory {copied}")
    until(lambda: copied not in [model["name"] for model in client.ps()])
    press(manager, f"Delete {copied}")
    press(manager, f"Do not delete {copied}")
    press(manager, f"Delete {copied}")
    assert copied in [model["name"] for model in client.list()]
    press(manager, f"Really delete {copied}")
    until(lambda: copied not in [model["name"] for model in client.list()])
    until(lambda: f"copied-{name}" not in texts(manager))


def test_the_manager_offers_only_permitted_actions(
    server: ScriptedServer, shell: InteractiveShell
) -> None:
    server.rights = {"run": True, "manage": False, "admin": False}
    manager = ModelManager()
    until(lambda: "smollm2:135m" in texts(manager))

    def offered() -> set[str]:
        buttons = (one for one in inside(manager) if isinstance(one, ipw.Button))
        return {one.description for one in buttons if one.layout.display != "none"}

    assert offered() == {"Refresh", "Load", "Unload"}
    name = next(one for one in inside(manager) if isinstance(one, ipw.Text))
    assert name.layout.display == "none"
    server.rights["manage"] = True
    press(manager, "List the models again")
    until(lambda: offered() == {"Refresh", "Load", "Unload", "Pull", "Delete…"})
    assert name.layout.display is None
