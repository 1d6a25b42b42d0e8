"""The output of a cell before its answer begins, and of ``%ollama usage``."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.stream_view import waiting_for
from real_kernel import Kernel
from scripted_server import ScriptedServer


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ({"status": "queued", "position": 1}, "waiting, 1st in line"),
        ({"status": "queued", "position": 3}, "waiting, 3rd in line"),
        ({"status": "queued", "position": 12}, "waiting, 12th in line"),
        ({"status": "queued", "position": 22}, "waiting, 22nd in line"),
        (
            {"status": "queued", "position": 2, "reason": "Slurm job 7 is pending: Resources"},
            "waiting: Slurm job 7 is pending: Resources",
        ),
        ({"status": "loading"}, "loading the model"),
        ({"status": "prompt", "completed": 30, "total": 120}, "reading the prompt, 25 %"),
    ],
)
def test_statuses(chunk: dict[str, Any], text: str) -> None:
    assert waiting_for(chunk) == text


def test_the_place_in_the_queue_is_shown_until_the_answer_begins(
    kernel: Kernel, server: ScriptedServer
) -> None:
    status = {"status": "queued"}
    server.steps = [{**status, "position": 3}, 0.6, {**status, "position": 2}, 2, "Hello."]
    reply, messages = kernel.run("%%chat smollm2:135m\nhi")
    assert reply["status"] == "ok"
    texts = shown(messages)
    # A slow kernel may have shown the third place, too.
    assert "<sub>waiting, 2nd in line…</sub>" in texts[:2]
    assert texts[-1].startswith("Hello.")
    assert "waiting" not in texts[-1]


def shown(messages: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [content["data"]["text/markdown"] for kind, content in messages if "data" in kind]


def seconds(waits: list[str], expected: str) -> list[int]:
    """Return the seconds that are shown after the reason of the wait; they only grow."""
    found = [re.fullmatch(f"<sub>{re.escape(expected)} (\\d+) s</sub>", text) for text in waits]
    counts = [int(match[1]) for match in found if match]
    assert counts == sorted(set(counts))
    return counts


def test_loading_is_shown_within_half_a_second_and_counts(
    kernel: Kernel, server: ScriptedServer
) -> None:
    server.steps = [{"status": "loading"}, 3.5, "Hello."]
    began = time.monotonic()
    times: list[float] = []

    def watch() -> None:
        while not times:
            message = kernel.client.get_iopub_msg(timeout=30)
            if message["msg_type"] == "display_data":
                times.append(time.monotonic() - began)
                first.append(message["content"]["data"]["text/markdown"])

    first: list[str] = []
    reply, messages = kernel.run("%%chat smollm2:135m\nhi", watch)
    assert reply["status"] == "ok"
    assert times[0] < (time.monotonic() - began) / 2, "not before the answer was nearly there"
    expected = "loading smollm2:135m, 145 MB…"
    # On a busy machine the size may come after the first time.
    assert re.fullmatch(r"<sub>loading smollm2:135m(, 145 MB)?…( \d s)?</sub>", first[0])
    *counted, _, last = shown(messages)
    assert len(seconds(counted, expected)) >= 2
    assert last.startswith("Hello.")
    assert "loading" not in last


def test_a_real_load_is_shown_with_its_size(chat_kernel: Kernel) -> None:
    chat_kernel.run("%ollama stop smollm2")
    for _ in range(2):
        _, messages = chat_kernel.run("%%chat smollm2 --new --num-predict 4\nhi")
        waits = [text for text in shown(messages) if "…" in text]
        expected = r"<sub>(loading smollm2(, \d+ MB)?…( \d+ s)?|reading the prompt, \d+ %…)</sub>"
        assert [text for text in waits if not re.fullmatch(expected, text)] == []
        last = shown(messages)[-1]
        assert "4 tokens" in last
        loaded = re.search(r"loaded in ([\d.]+) s", last)
        if loaded and float(loaded[1]) > 1:
            assert "loading smollm2" in waits[0]


def test_the_wait_for_a_silent_server_is_shown(kernel: Kernel, server: ScriptedServer) -> None:
    server.steps = [4.4, "Hello."]
    _, messages = kernel.run("%%chat smollm2:135m\nhi")
    expected = "<sub>waiting for smollm2:135m…"
    waits = [text for text in shown(messages) if text.startswith("<sub>")]
    assert all(text.startswith(expected) for text in waits)
    assert seconds(waits, expected.removeprefix("<sub>"))[0] >= 2


def test_a_failed_wait_leaves_no_output(kernel: Kernel, server: ScriptedServer) -> None:
    server.steps = [{"status": "loading"}, 2, "…drop"]
    reply, messages = kernel.run("%%chat smollm2:135m\nhi")
    assert reply["status"] == "error"
    outputs = [content["data"] for kind, content in messages if "display_data" in kind]
    assert "loading" in outputs[0]["text/markdown"]
    assert outputs[-1] == {"text/plain": ""}


def test_a_terminal_erases_the_state(server: ScriptedServer) -> None:
    server.steps = [{"status": "loading"}, 3, "Hello."]
    ours, theirs = pty.openpty()
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'jupyter_ollama_magics')\n"
        "shell.run_cell_magic('chat', 'smollm2:135m', 'hi')"
    )
    environment = {**os.environ, "JUPYTER_OLLAMA_URL": server.url}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 4096):
            written += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    lines = written.decode().split("\r\x1b[2K")
    line = "loading smollm2:135m, 145 MB…"
    first, *counted, last = [text.strip() for text in lines if text]
    assert first.startswith("loading smollm2:135m")
    assert counted[-1].startswith(f"{line} ")
    assert last == "Hello."


def test_usage_of_a_real_server(
    chat_shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_shell.run_cell_magic("chat", "smollm2 --new --num-predict 2", "hi")
    table = chat_shell.run_line_magic("ollama", "usage")
    assert "tokens in the last minute" in capsys.readouterr().out
    assert list(table.columns)[:3] == ["period", "model", "requests"]


def test_a_server_without_accounts(shell: InteractiveShell) -> None:
    with pytest.raises(OllamaMagicsError, match="keeps no account"):
        shell.run_line_magic("ollama", "usage")
