"""``%%chat --bg`` in a real kernel, with a real model."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from real_kernel import Kernel

ASK = "%%chat smollm2 --bg --new --temperature 0 --num-predict"


def printed(kernel: Kernel, code: str) -> str:
    reply, messages = kernel.run(code)
    assert reply["status"] == "ok", reply
    return "".join(content["text"] for kind, content in messages if kind == "stream")


def test_cells_go_on_while_an_answer_is_written(chat_kernel: Kernel) -> None:
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


def test_it_can_be_stopped_and_its_conversation_waits(chat_kernel: Kernel) -> None:
    endless = "-p logit_bias='{\"2\": -100}'"
    reply, _ = chat_kernel.run(f"{ASK} -1 -o story {endless}\nTell a long story.")
    assert reply["status"] == "ok"
    refused, _ = chat_kernel.run("%%chat smollm2\nAnd now?")
    assert "is still being answered" in refused["evalue"]
    told = printed(
        chat_kernel,
        "import time\nwhile not story.text: time.sleep(0.05)\n"
        "story.stop()\nprint(story.wait(30), story.done_reason)",
    )
    assert told == "True interrupted\n"
    assert printed(chat_kernel, "print(len(story.conversation.messages))") == "2\n"


def test_errors_are_told_in_the_output(chat_kernel: Kernel) -> None:
    assert chat_kernel.run("%%chat nobody --bg --new -o lost\nhi")[0]["status"] == "ok"
    assert "not found" in printed(chat_kernel, "lost.wait(30); print(lost.footer)")


def test_a_terminal_says_why_not(chat_shell: InteractiveShell) -> None:
    with pytest.raises(OllamaMagicsError, match="--bg wants a notebook"):
        chat_shell.run_cell_magic("chat", "smollm2 --bg", "hi")
