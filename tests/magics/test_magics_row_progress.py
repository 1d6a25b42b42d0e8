"""The progress bar of a call with many rows: a line at the end, kept when stopped."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import nbformat
import pytest
from jupyter_ollama_magics.rows.jobs import PROGRESS_AFTER
from nbclient import NotebookClient
from real_kernel import Kernel
from row_server import RowServer, application

FIRST = "%load_ext jupyter_ollama_magics\nimport pandas as pd"
ASK = """
print("before")
answers = pd.Series([str(number) for number in range({rows})]).ollama.chat()
print("after")
"""

LINE = r"chat by echo:latest: 120 rows, 120 requests, 360 \+ 120 tokens, [\d.]+ s"


@pytest.fixture
def slow(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """A server that takes half a second for each row; the accessors find it."""
    server = RowServer()
    server.pause = 0.5
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    return server


@pytest.fixture
def row_kernel(
    slow: RowServer, kernel_at: Callable[[str], AbstractContextManager[Kernel]]
) -> Iterator[Kernel]:
    """A kernel with the magics and pandas, connected to the server."""
    with kernel_at(os.environ["JUPYTER_OLLAMA_URL"]) as kernel:
        kernel.run("import pandas as pd")
        yield kernel


def texts(messages: list[tuple[str, dict[str, object]]]) -> list[str]:
    found = [content for kind, content in messages if kind.endswith("display_data")]
    return [content["data"]["text/plain"] for content in found]  # type: ignore[index]


def test_a_saved_notebook_has_one_line(slow: RowServer) -> None:
    cells = [nbformat.v4.new_code_cell(code) for code in (FIRST, ASK.format(rows=120))]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    outputs = notebook.cells[1].outputs
    shown = [one.get("text") or one["data"]["text/plain"] for one in outputs]
    assert re.fullmatch(LINE, shown.pop(1))
    assert shown == ["before\n", "after\n"]
    assert all(set(one.get("data", {"text/plain": ""})) == {"text/plain"} for one in outputs)


def test_it_is_filled_before_the_report(slow: RowServer, row_kernel: Kernel) -> None:
    reply, messages = row_kernel.run(ASK.format(rows=120))
    assert reply["status"] == "ok"
    *growing, full, report = texts(messages)
    assert growing
    assert all("/120 rows" in text for text in growing)
    assert "100 %" in full
    assert "120/120 rows" in full
    assert re.fullmatch(LINE, report)


def test_an_interrupted_bar_stays_with_its_count(slow: RowServer, row_kernel: Kernel) -> None:
    slow.stop_at = 100

    def interrupt() -> None:
        assert slow.stopped.wait(30)
        row_kernel.manager.interrupt_kernel()

    reply, messages = row_kernel.run(ASK.format(rows=300), interrupt)
    assert reply["ename"] == "RowsInterrupted"
    done = reply["evalue"].split()[0]
    assert f" {done}/300 rows" in texts(messages)[-1]


@pytest.mark.parametrize("fails", [False, True])
def test_in_a_terminal(slow: RowServer, fails: bool) -> None:
    rows = "['bad' if number == 80 else str(number) for number in range(120)]"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    code = (
        "import pandas as pd, jupyter_ollama_magics.accessor, jupyter_ollama_magics.failures as f\n"
        f"try: pd.Series({rows if fails else rows.replace('bad', 'good')}).ollama.chat()\n"
        "except f.OllamaMagicsError as error: print('Error:', error)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env=os.environ)
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 4096):
            written += piece
    except OSError:  # the process has closed its end
        pass
    os.close(ours)
    assert process.wait() == 0
    lines = written.decode().replace("\r\n", "\n").split("\r")
    # tqdm draws once when it is created; then the seconds before the bar count as elapsed.
    _, *elapsed = re.findall(r"/120 \[00:(\d\d)<", "".join(lines))
    assert elapsed
    assert min(map(int, elapsed)) >= int(PROGRESS_AFTER)
    if fails:
        assert lines[-1].endswith("\n")
        assert "/120 [" in lines[-1]
    else:
        *bars, report = (line for line in lines if line.strip())
        assert re.fullmatch(LINE, report.strip())
        assert "120/120 [" in bars[-1]
