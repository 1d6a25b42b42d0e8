"""``%%chat --bg`` in a real kernel, with a real model."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from nbclient import NotebookClient
from real_kernel import Kernel

ASK = "%%chat smollm2 --bg --new --temperature 0 --num-predict"


def printed(kernel: Kernel, code: str) -> str:
    reply, messages = kernel.run(code)
    assert reply["status"] == "ok", reply
    return "".join(content["text"] for kind, content in messages if kind == "stream")


def test_cells_run_while_an_answer_is_generated(chat_kernel: Kernel) -> None:
    reply, messages = chat_kernel.run(f"{ASK} 40 -o tea\nTell me about tea.")
    assert reply["status"] == "ok"
    assert [kind for kind, _ in messages] == ["display_data"]
    display = messages[0][1]["transient"]["display_id"]
    shown = ""
    while "40 tokens" not in shown:
        message = chat_kernel.client.get_iopub_msg(timeout=30)
        if message["msg_type"] == "update_display_data":
            assert message["content"]["transient"]["display_id"] == display
            shown = message["content"]["data"]["text/markdown"]
    assert printed(chat_kernel, "print(tea.wait(60))") == "True\n"
    assert printed(chat_kernel, "print(len(tea.conversation.messages), tea.done_reason)") == (
        "2 length\n"
    )
    follow_up = "%%chat --temperature 0 --num-predict 4 -o more\nGo on."
    assert chat_kernel.run(follow_up)[0]["status"] == "ok"
    assert printed(chat_kernel, "print(len(more.conversation.messages))") == "4\n"


def test_an_answer_is_stopped_and_locks_its_conversation_until_then(chat_kernel: Kernel) -> None:
    endless = '-p logit_bias=\'{"0": -100, "2": -100}\' -p repetition_stop=false'
    reply, _ = chat_kernel.run(f"{ASK} -1 -o story {endless}\nTell a long story.")
    assert reply["status"] == "ok"
    refused, _ = chat_kernel.run("%%chat smollm2\nAnd now?")
    assert "is still being answered" in refused["evalue"]
    output = printed(
        chat_kernel,
        "import time\nwhile not story.text: time.sleep(0.05)\n"
        "story.stop()\nprint(story.wait(30), story.done_reason)",
    )
    assert output == "True interrupted\n"
    assert printed(chat_kernel, "print(len(story.conversation.messages))") == "2\n"


def test_errors_are_shown_in_the_output(chat_kernel: Kernel) -> None:
    assert chat_kernel.run("%%chat missing --bg --new -o lost\nhi")[0]["status"] == "ok"
    assert "not found" in printed(chat_kernel, "lost.wait(30); print(lost.footer)")


def executed(*codes: str, kernel: str = "python3") -> Any:
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name=kernel, timeout=120).execute()
    return notebook.cells


LOAD = "%load_ext jupyter_ollama_magics"
TEA = f"{ASK} 40 -o tea\nTell me about tea."


@pytest.mark.parametrize("last", ["tea.done_reason", "tea.wait()", "pass"])
def test_programs_that_run_notebooks_save_the_answer(
    chat_server: str, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    _, asked, *_ = executed(LOAD, TEA, last)
    [output] = asked.outputs
    assert "40 tokens" in output["data"]["text/markdown"]
    assert output["metadata"]["jupyter_ollama"]["done_reason"] == "length"
    _, asked = executed(LOAD, TEA)
    assert "40 tokens" in asked.outputs[0]["data"]["text/markdown"]


def test_an_error_is_saved_too(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    _, asked, after = executed(LOAD, "%%chat missing --bg --new\nhi", "print('on')")
    assert "To get it: %ollama pull missing" in asked.outputs[0]["data"]["text/plain"]
    assert after.outputs[0]["text"] == "on\n"


def test_the_cell_that_waits_sends_the_answer(chat_kernel: Kernel) -> None:
    _, messages = chat_kernel.run(TEA)
    display = messages[0][1]["transient"]["display_id"]
    _, messages = chat_kernel.run("tea.wait()")
    updates = [content for kind, content in messages if kind == "update_display_data"]
    assert updates[-1]["transient"]["display_id"] == display
    assert "40 tokens" in updates[-1]["data"]["text/markdown"]


def test_a_terminal_refuses(chat_shell: InteractiveShell) -> None:
    with pytest.raises(OllamaMagicsError, match="--bg needs a notebook"):
        chat_shell.run_cell_magic("chat", "smollm2 --bg", "hi")
