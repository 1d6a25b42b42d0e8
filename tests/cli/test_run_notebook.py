"""The script behind `make demo`: a real Jupyter server, a real kernel, output as it comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat

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
        "from jupyter_ollama_magics.discovery import discover\nprint(discover().url)",
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
        "from IPython.display import DisplayHandle\n"
        "handle = DisplayHandle()\n"
        "handle.display({'text/plain': 'one'}, raw=True)\n"
        "for text in ('one two', 'one two three'):\n"
        "    time.sleep(0.5)\n"
        "    handle.update({'text/plain': text}, raw=True)",
        "1 / 0",
        "print('not reached')",
    )
    with subprocess.Popen(
        [sys.executable, SCRIPT, notebook], env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pieces = list(iter(lambda: process.stdout.read1(1000), b""))
    text = b"".join(pieces).decode()
    # Each update is written when it comes, and only what it adds.
    assert b" two" in pieces
    assert b" three" in pieces
    assert "\none two three\n" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "not reached" not in text
    assert process.returncode == 1
