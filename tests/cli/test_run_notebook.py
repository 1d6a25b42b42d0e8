"""The script behind `make demo`: a real Jupyter server, a real kernel, output as it comes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import nbformat
import psutil
import pytest
from jupyter_client.channels import HBChannel
from run_notebook import jupyter_server, kernel, wait_for_kernel

SCRIPT = Path(__file__).parents[2] / "examples" / "run_notebook.py"


def write_notebook(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), *cells])
    nbformat.write(notebook, path)
    return path


def test_it_runs_a_notebook_as_jupyter_does(environment: dict[str, str], tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "a.ipynb",
        "import json, os, pathlib\n"
        "from jupyter_core.paths import jupyter_runtime_dir\n"
        "name = f'jpserver-{os.environ[\"JPY_PARENT_PID\"]}.json'\n"
        "server = json.loads(pathlib.Path(jupyter_runtime_dir(), name).read_text())\n"
        "print('token of', len(server['token']), 'in', pathlib.Path.cwd().name)",
        "from jupyter_ollama_client.discovery import discover\nprint(discover().url)",
        "import pandas\npandas.DataFrame({'column': [1, 2]})",
    )
    before = notebook.read_bytes()
    done = subprocess.run(
        [sys.executable, SCRIPT, notebook],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode, done.stderr) == (0, "")
    address = done.stdout.splitlines()[0].removeprefix("Jupyter server at ")
    assert address.startswith("http://127.0.0.1:")
    assert f"token of 48 in {tmp_path.name}\n" in done.stdout
    assert f"{address}/ollama\n" in done.stdout
    assert "\n   column\n0       1\n1       2\n" in done.stdout
    assert "│ import pandas\n│ pandas.DataFrame" in done.stdout
    assert notebook.read_bytes() == before


def test_updates_of_a_display_are_shown_as_they_come(
    environment: dict[str, str], tmp_path: Path
) -> None:
    notebook = write_notebook(
        tmp_path / "b.ipynb",
        "import time\n"
        "from pathlib import Path\n"
        "from IPython.display import DisplayHandle\n"
        "handle = DisplayHandle()\n"
        "handle.display({'text/plain': 'one'}, raw=True)\n"
        "for text in ('one two', 'one two three'):\n"
        f"    while not Path({str(tmp_path)!r}, text).exists(): time.sleep(0.02)\n"
        "    handle.update({'text/plain': text}, raw=True)",
        "1 / 0",
        "print('not reached')",
    )
    with subprocess.Popen(
        [sys.executable, SCRIPT, notebook], env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        written = b""
        while piece := process.stdout.read1(1000):
            written += piece
            # Each update is written when it comes: only then does the cell go on.
            for before, after in ((b"\none", "one two"), (b"\none two", "one two three")):
                if written.endswith(before):
                    (tmp_path / after).touch()
    text = written.decode()
    assert "\none two three\n" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "not reached" not in text
    assert process.returncode == 1


class Heart:
    """Suspends the kernel of a folder before it answers, and misses some of its heartbeats."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.folder = folder
        self.kernel: psutil.Process | None = None
        self.beats = HBChannel.is_beating
        monkeypatch.setattr(HBChannel, "is_beating", lambda channel: self.is_beating(channel))

    def is_beating(self, channel: HBChannel) -> bool:
        if self.kernel is None:
            self.kernel = find_kernel(self.folder)
            if self.kernel:
                self.kernel.suspend()
            return True
        self.asked += 1
        if self.asked == 4:
            self.kernel.resume()
        return self.asked > 4 and self.beats(channel)


def find_kernel(folder: Path) -> psutil.Process | None:
    """Return the kernel that runs in a folder; None before it has replaced its parent's image."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            if "ipykernel_launcher" in child.cmdline() and child.cwd() == str(folder):
                return child
    return None


def test_a_kernel_that_is_slow_to_answer_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart = Heart(tmp_path, monkeypatch)
    notebook = write_notebook(tmp_path / "a.ipynb", "1")
    with jupyter_server(tmp_path) as server, kernel(server, notebook) as client:
        reply = client.execute_interactive("1", timeout=60)
        assert reply["content"]["status"] == "ok"
    assert heart.asked > 4


def test_a_kernel_that_the_server_does_not_have_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", "1")
    with jupyter_server(tmp_path) as server, kernel(server, notebook) as client:
        monkeypatch.setattr(client, "wait_for_ready", raises_at_once)
        with pytest.raises(SystemExit, match="The kernel did not start: it died"):
            wait_for_kernel(client, server, str(uuid4()))


def raises_at_once(timeout: float) -> None:
    raise RuntimeError("it died")
