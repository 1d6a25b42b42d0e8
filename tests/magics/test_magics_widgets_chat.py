"""The chat widget: its requests, its state and its end."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jupyter_ollama_magics
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.widgets import Chat
from nbclient import NotebookClient
from real_kernel import Kernel
from scripted_server import ScriptedServer
from widget_tree import until

WIDGETS = Path(jupyter_ollama_magics.__file__).parent / "widgets"
MODEL = "smollm2:135m"


@pytest.fixture
def chat(shell: InteractiveShell) -> Iterator[Chat]:
    chat = Chat(MODEL, system="Be brief.", options={"seed": 1})
    yield chat
    chat.close()


def asked(chat: Chat, text: str) -> dict[str, Any]:
    """Ask and return the final display of the question and its answer."""
    return ended(chat, lambda: chat.ask(text), len(chat.exchanges) + 1)


def ended(chat: Chat, do: Callable[[], None], count: int) -> dict[str, Any]:
    changes: list[bool] = []
    chat.observe(lambda change: changes.append(change.new), "busy")
    do()
    until(lambda: changes == [True, False])
    chat.unobserve_all("busy")
    until(lambda: len(chat.exchanges) == count and not chat.answer)
    return dict(chat.exchanges[-1])


def test_questions_and_answers_become_a_conversation(chat: Chat, server: ScriptedServer) -> None:
    thought = {"message": {"content": "", "thinking": "Hm."}, "done": False}
    server.steps = [thought, "Hello", " there", "."]
    shown = asked(chat, "Hi")
    assert (shown["question"], shown["text"], shown["thinking"]) == ("Hi", "Hello there.", "Hm.")
    assert "40 tokens · 20.0 tokens/s" in shown["note"]
    asked(chat, "And?")
    first, second = server.bodies("/api/chat")
    system = {"role": "system", "content": "Be brief."}
    assert first["messages"] == [system, {"role": "user", "content": "Hi"}]
    assert first["options"] == {"seed": 1}
    assert second["messages"] == [
        *first["messages"],
        {"role": "assistant", "content": "Hello there."},
        {"role": "user", "content": "And?"},
    ]
    assert len(chat.messages) == 5
    chat.clear()
    until(lambda: chat.exchanges == [])
    assert chat.messages == [system]


@pytest.mark.parametrize("steps", [["part", 60], [60]])
@pytest.mark.parametrize("close", [False, True])
def test_stopping_closes_the_connection(
    chat: Chat, server: ScriptedServer, steps: list[Any], close: bool
) -> None:
    server.steps = steps
    chat.ask("Go")
    assert server.streaming.wait(10)
    until(lambda: chat.busy and (len(steps) == 1 or chat.answer))
    if close:
        chat.close()
    else:
        chat.stop()
    assert server.disconnected.wait(10)
    until(lambda: not chat.busy)
    assert "interrupted" in chat.exchanges[-1]["note"]
    # An unanswered question is not part of later requests.
    assert [m["content"] for m in chat.messages[1:]] == (["Go", "part"] if steps[:-1] else [])


def test_the_state_of_a_request_is_shown(chat: Chat, server: ScriptedServer) -> None:
    server.steps = [{"status": "loading"}, 3, "Hello."]
    shown: list[dict[str, Any]] = []
    chat.observe(lambda change: shown.append(change.new), "answer")
    assert asked(chat, "Hi")["text"] == "Hello."
    waits = [answer["waits"] for answer in shown if answer.get("waits")]
    assert waits[0].startswith("loading smollm2:135m")
    assert waits[-1].startswith("loading smollm2:135m, 145 MB… ")
    assert "waits" not in shown[-2]
    assert shown[-2]["text"] == "Hello."


def test_an_answer_is_regenerated(chat: Chat, server: ScriptedServer) -> None:
    asked(chat, "Hi")
    server.steps = ["Another."]
    shown = ended(chat, chat.regenerate, 1)
    assert (shown["question"], shown["text"]) == ("Hi", "Another.")
    first, second = server.bodies("/api/chat")
    assert first == second


def test_errors_are_shown_and_left_out_of_later_requests(
    chat: Chat, server: ScriptedServer
) -> None:
    chat.model = "nonesuch"
    shown = asked(chat, "Hi")
    assert (
        shown["error"] == "model 'nonesuch' not found. http" + shown["error"].partition("http")[2]
    )
    chat.model = MODEL
    server.steps = ["Half", "…drop"]
    shown = asked(chat, "Again")
    assert shown["text"] == "Half"
    assert "broke" in shown["error"]
    server.steps = ["Whole."]
    asked(chat, "More")
    contents = [message["content"] for message in server.bodies("/api/chat")[-1]["messages"]]
    assert contents == ["Be brief.", "Again", "Half", "More"]


def send(kernel: Kernel, comm: str, content: dict[str, Any]) -> None:
    """Send a message as the page of the widget does."""
    data = {"method": "custom", "content": content}
    message = kernel.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    kernel.client.shell_channel.send(message)


def test_cells_run_while_the_widget_streams(kernel: Kernel, server: ScriptedServer) -> None:
    server.steps = ["Hello", 60]
    code = "from jupyter_ollama_magics.widgets import Chat\nchat = Chat('smollm2:135m')\n"
    _, messages = kernel.run(f"{code}print(chat.model_id)")
    comm = next(content["text"] for kind, content in messages if kind == "stream").strip()
    send(kernel, comm, {"do": "ask", "text": "Hi", "thumbnails": []})
    assert server.streaming.wait(10)
    _, messages = kernel.run("print(chat.busy)")
    assert ("stream", {"name": "stdout", "text": "True\n"}) in messages
    send(kernel, comm, {"do": "stop"})
    assert server.disconnected.wait(10)
    send(kernel, comm, {"do": "models"})
    kernel.run("import time\nwhile not chat.models: time.sleep(0.01)")
    _, messages = kernel.run("print(chat.models, chat.exchanges[0]['text'])")
    (text,) = (content["text"] for kind, content in messages if kind == "stream")
    assert text == "[{'name': 'smollm2:135m', 'sees': False}] Hello\n"


def test_a_notebook_without_widgets_keeps_the_answers(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)
    server.steps = ["It is <b>done</b>."]
    cells = [
        "from jupyter_ollama_magics.widgets import Chat\nchat = Chat('smollm2:135m')\nchat",
        "import time\nchat.ask('Is it?')\nwhile not chat.messages or chat.busy: time.sleep(0.05)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    widget, kept = notebook.cells[0].outputs
    assert widget.data["text/plain"] == "Chat with smollm2:135m"
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    assert "**You**\n\nIs it?" in kept.data["text/markdown"]
    assert "It is &lt;b>done&lt;/b>." in kept.data["text/markdown"]


def test_the_built_page_is_that_of_its_sources() -> None:
    folder = WIDGETS / "frontend"
    sources = sorted(path for path in folder.glob("*.js*") if path.name != "package.json")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    for name in ("chat.js", "math.js"):
        built = (WIDGETS / name).read_text()
        assert built.startswith(f"// made of frontend/ {digest};"), "npm ci && npm run build is due"


def test_importing_widgets_imports_nothing_heavy() -> None:
    code = (
        "import sys; from jupyter_ollama_magics import widgets;"
        "print({'ipywidgets', 'anywidget', 'httpx2'} & {*sys.modules})"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
