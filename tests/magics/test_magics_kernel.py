"""The magics in a real kernel: outputs and interrupts."""

from __future__ import annotations

import os
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from crowd import wait_until
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from real_kernel import Kernel
from scripted_server import ScriptedServer
from test_magics_discovery import register

WORDS = [step for number in range(12) for step in (f"word{number} ", 0.1)]


def execute(cells: list[str], **options: Any) -> list[Any]:
    """Execute a notebook of ``cells`` and return them with their outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3", timeout=60, **options).execute()
    nbformat.validate(notebook)
    return notebook.cells


def kinds(messages: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [kind for kind, _ in messages]


def test_answer_grows_in_one_output(kernel: Kernel, server: ScriptedServer) -> None:
    server.steps = WORDS
    reply, messages = kernel.run("%%chat smollm2:135m\ncount")
    assert reply["status"] == "ok"
    first, *updates = messages
    assert first[0] == "display_data"
    assert set(kinds(updates)) == {"update_display_data"}
    assert len(updates) >= 5
    assert len({content["transient"]["display_id"] for _, content in messages}) == 1
    texts = [content["data"]["text/markdown"] for _, content in messages]
    assert texts[0].strip() == "word0"
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert "word11" in texts[-1]
    assert "40 tokens · 20.0 tokens/s" in texts[-1]


def test_quick_tokens_share_updates(kernel: Kernel, server: ScriptedServer) -> None:
    server.steps = ["x"] * 2000
    kernel.run("%config OllamaMagics.refresh_hz = 10")
    _, messages = kernel.run("%%chat smollm2:135m\ngo")
    assert len(messages) < 500
    assert "x" * 2000 in messages[-1][1]["data"]["text/plain"]


def test_saved_notebook_has_one_final_output(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)
    server.steps = [*WORDS, "\n\n```html\n<b>"]
    cells = execute(
        [
            "%load_ext jupyter_ollama_magics",
            "%%chat smollm2:135m --seed 3 -o answer\ncount",
            "(_ is answer, answer.text[:5], len(answer.conversation.messages))",
            "%config OllamaMagics.show_stats = False",
            "%%chat\nmore",
        ]
    )
    assert cells[0].outputs == []
    (output,) = cells[1].outputs
    assert output.output_type == "display_data"
    assert output.data["text/markdown"].endswith(
        "word11 \n\n```html\n<b>\n```\n\n<sub>smollm2:135m · 40 tokens · 20.0 tokens/s · "
        "12 in the prompt · loaded in 1.2 s</sub>"
    )
    metadata = output.metadata["jupyter_ollama"]
    assert metadata["model"] == "smollm2:135m"
    assert metadata["digest"] == "a" * 64
    assert metadata["options"] == {"seed": 3}
    assert metadata["eval_count"] == 40
    assert cells[2].outputs[0].data["text/plain"] == "(True, 'word0', 2)"
    assert "tokens/s" not in str(cells[4].outputs[0].data)


def test_error_stops_a_notebook_with_one_line(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)
    cells = ["%load_ext jupyter_ollama_magics", "%%chat nope\nhi", "%%chat --bogus\nhi"]
    with pytest.raises(CellExecutionError, match="model 'nope' not found"):
        execute(cells)
    executed = execute(cells, allow_errors=True)
    (error,) = executed[1].outputs
    assert error.output_type == "error"
    assert len(error.traceback) == 1
    assert "model 'nope' not found. " in error.traceback[0]
    (error,) = executed[2].outputs
    assert error.traceback[0].endswith("unrecognized arguments: --bogus. See %%chat?")


def test_an_error_in_mid_stream_keeps_the_text_before_it(
    kernel: Kernel, server: ScriptedServer
) -> None:
    server.steps = ["half an answer", {"error": "the model crashed"}]
    reply, messages = kernel.run("%%chat smollm2:135m\nhi")
    assert reply["status"] == "error"
    assert kinds(messages) == ["display_data", "update_display_data", "error"]
    assert (
        messages[1][1]["data"]["text/plain"]
        == "half an answer\n\n[stopped by an error · smollm2:135m]"
    )
    assert messages[2][1]["traceback"] == ["\x1b[31mError:\x1b[0m the model crashed"]


def until_shown(kernel: Kernel, text: str) -> None:
    """Return when the cell that runs has shown a text."""
    shown = ""
    while text not in shown:
        data = kernel.client.get_iopub_msg(timeout=30)["content"].get("data", {})
        shown = data.get("text/markdown", "") + data.get("text/plain", "")


def test_interrupt_in_mid_stream(kernel: Kernel, server: ScriptedServer) -> None:
    server.steps = ["Once upon", 60.0, " a time"]

    def interrupt() -> None:
        until_shown(kernel, "Once upon")
        kernel.manager.interrupt_kernel()

    reply, messages = kernel.run("%%chat smollm2:135m\nA story\n", interrupt)
    assert reply["status"] == "ok"
    assert server.disconnected.wait(5)
    assert messages[-1][1]["data"]["text/markdown"] == (
        "Once upon\n\n<sub>interrupted · smollm2:135m</sub>"
    )
    assert messages[-1][1]["metadata"]["jupyter_ollama"]["done_reason"] == "interrupted"
    server.steps = ["Fine."]
    reply, _ = kernel.run("%%chat\nGo on")
    assert reply["status"] == "ok"
    turns = [message["content"] for message in server.bodies("/api/chat")[-1]["messages"]]
    assert turns == ["A story", "Once upon", "Go on"]


def test_interrupt_before_the_first_token(kernel: Kernel, server: ScriptedServer) -> None:
    server.steps = [60.0, "late"]

    def interrupt() -> None:
        assert server.streaming.wait(20)
        kernel.manager.interrupt_kernel()

    reply, messages = kernel.run("%%chat smollm2:135m\nhi", interrupt)
    assert (reply["status"], kinds(messages)) == ("ok", ["display_data"])
    assert "interrupted" in messages[0][1]["data"]["text/markdown"]
    assert server.disconnected.wait(5)
    server.steps = ["Fine."]
    kernel.run("%%chat smollm2:135m\nagain")
    assert [m["content"] for m in server.bodies("/api/chat")[-1]["messages"]] == ["again"]


def test_interrupt_while_connecting(kernel: Kernel, server: ScriptedServer) -> None:
    # A listener whose queue is full lets further connections wait.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        kernel.run(f"%config OllamaMagics.url = 'http://127.0.0.1:{full.getsockname()[1]}'")

        def connects() -> bool:
            process = psutil.Process(kernel.manager.provisioner.pid)
            return any(one.status == psutil.CONN_SYN_SENT for one in process.net_connections())

        def interrupt() -> None:
            wait_until(connects)
            kernel.manager.interrupt_kernel()

        reply, messages = kernel.run("%%chat smollm2:135m\nhi", interrupt)
        for filler in fillers:
            filler.close()
    assert (reply["status"], kinds(messages)) == ("ok", ["display_data"])
    assert "interrupted" in messages[0][1]["data"]["text/plain"]
    kernel.run(f"%config OllamaMagics.url = '{server.url}'")
    reply, _ = kernel.run("%%chat smollm2:135m\nhi")
    assert reply["status"] == "ok"


def test_an_interrupted_embedding_leaves_no_output(kernel: Kernel, server: ScriptedServer) -> None:
    server.embed_delay = 1.3
    kernel.run("texts = [f'text {i}' for i in range(2000)]")

    def interrupt() -> None:
        until_shown(kernel, "of 2000 texts embedded")
        kernel.manager.interrupt_kernel()

    reply, messages = kernel.run("vectors = %embed texts", interrupt)
    assert (reply["status"], reply["ename"]) == ("error", "Interrupted")
    shown = [c["data"]["text/plain"] for kind, c in messages if "display_data" in kind]
    assert shown[-1] == ""
    assert messages[-1][1]["traceback"] == ["\x1b[31mInterrupted\x1b[0m"]
    server.embed_delay = 0.0
    reply, messages = kernel.run("vectors = %embed texts\nprint(vectors.shape)")
    assert messages == [("stream", {"name": "stdout", "text": "(2000, 3)\n"})]


def test_completion_over_the_wire(kernel: Kernel) -> None:
    for _ in range(30):
        kernel.client.complete("%%chat smollm2:1\nhello", 16)
        content = kernel.client.get_shell_msg(timeout=30)["content"]
        if content["matches"]:
            break  # names that arrive late, on a busy host, are for the next Tab
    assert content["matches"] == ["smollm2:135m"]
    assert (content["cursor_start"], content["cursor_end"]) == (7, 16)


def test_parent_server_is_found_by_a_kernel(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    register(tmp_path, os.getpid(), server.url)
    cells = execute(["%load_ext jupyter_ollama_magics", "%ollama version"])
    assert "/user/x@y/ollama (parent Jupyter server)" in cells[1].outputs[0].text
    assert server.requests[-1][2]["Authorization"] == "Bearer parent-token"
