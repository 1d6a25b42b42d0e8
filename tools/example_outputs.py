"""Run the example notebooks and keep their outputs in the files.

    python tools/example_outputs.py                    # all that small models can run
    python tools/example_outputs.py search quickstart  # some of them

The outputs are kept without what differs from one machine to another: paths, speeds, ages, random
names. A hash of the sources and of the data they read is kept beside them; a test compares it.
Needs the packages of the tests.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
for folder in ("examples", "tests", "tests/hub"):
    sys.path.insert(0, str(ROOT / folder))

import starter_models  # noqa: E402
from cli_process import serving  # noqa: E402
from running_hub import running_hub  # noqa: E402

from jupyter_ollama.library.library import Library  # noqa: E402

LARGE = {"images", "tools"}
"""They need a model of several gigabytes, which sees or calls functions: no outputs are kept."""
HUB = {"class"}
"""They run at a JupyterHub."""
PICTURES = {"class": ROOT / "docs" / "images" / "hub.png"}
"""Where the last picture of a notebook is kept, too."""
TIMEOUT = 300
SOURCES = "sources"
"""The key of the hash in the metadata of a notebook."""

FORGOTTEN = (
    (r" · [\d.]+ tokens/s", ""),
    (r" · loaded in [\d.]+ s", ""),
    (
        r"\b(?:\d+ (?:second|minute|hour|day)s? ago|(?:a|an) (?:second|minute|hour) ago)\b",
        "just now",
    ),
    (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?", "now"),
    (r" at 0x[0-9a-f]+", ""),
    (r"http://127\.0\.0\.1:\d+", "http://localhost:8888"),
)
"""What differs between two runs, and what is kept in its place."""
RANDOM = re.compile(r"\bT_[0-9a-f]{5}\b")
"""The name that pandas gives to a styled table."""
DATA = re.compile(r"data/[\w.-]+")


def notebooks() -> list[str]:
    """Return the names of the example notebooks, without their ending."""
    return sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))


def read(name: str) -> NotebookNode:
    """Read an example."""
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def source_hash(notebook: NotebookNode) -> str:
    """Return a hash of the code of a notebook and of the data files that it names."""
    code = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    found = hashlib.sha256(code.encode())
    for name in sorted(set(DATA.findall(code))):
        found.update((EXAMPLES / name).read_bytes())
    return found.hexdigest()[:16]


def executed(name: str) -> NotebookNode:
    """Run an example from top to bottom. The environment has the address of its server."""
    notebook = read(name)
    resources = {"metadata": {"path": EXAMPLES}}
    client = NotebookClient(notebook, timeout=TIMEOUT, resources=resources, record_timing=False)
    client.execute()
    return notebook


def keep(name: str) -> None:
    """Run an example and write its outputs into its file."""
    notebook = executed(name)
    styled: dict[str, str] = {}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not empty(output)]
            for output in cell.outputs:
                clean(output, styled)
    notebook.metadata = {
        "kernelspec": notebook.metadata.kernelspec,
        "language_info": {"name": "python"},
        SOURCES: source_hash(notebook),
    }
    nbformat.write(notebook, EXAMPLES / f"{name}.ipynb")
    if name in PICTURES:
        PICTURES[name].write_bytes(pictures(notebook)[-1])


def pictures(notebook: NotebookNode) -> list[bytes]:
    """Return the pictures of a notebook, as PNG."""
    return [
        base64.b64decode(output.data["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]


def empty(output: NotebookNode) -> bool:
    """Return whether an output shows nothing, as the line of progress does at its end."""
    return output.output_type == "display_data" and not any(output.data.values())


def clean(output: NotebookNode, styled: dict[str, str]) -> None:
    """Replace what differs between two runs in an output."""
    if output.output_type == "stream":
        output.text = stable(output.text, styled)
    for kind, content in output.get("data", {}).items():
        if isinstance(content, str) and not kind.startswith("image/"):
            output.data[kind] = stable(content, styled)


def stable(text: str, styled: dict[str, str]) -> str:
    """Return a text of an output without what differs between two runs."""
    for pattern, instead in FORGOTTEN:
        text = re.sub(pattern, instead, text)
    return RANDOM.sub(lambda m: styled.setdefault(m[0], f"T_{len(styled):05x}"), text)


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def server(models: Path, folder: Path) -> Iterator[dict[str, str]]:
    """Serve a store; yield the variables by which a notebook finds the server."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables: dict[str, Any] = {**os.environ, "HOME": str(folder), "PATH": programs}
    with serving(variables, models, folder) as served:
        yield {"JUPYTER_OLLAMA_URL": f"http://{served.host}"}


@contextlib.contextmanager
def hub(models: Path, folder: Path) -> Iterator[dict[str, str]]:
    """Run a JupyterHub with a shared server; yield the variables of the notebook of its users."""
    (folder / "runtime").mkdir(exist_ok=True)
    path = "/services/ollama/ollama"
    with (
        environment(JUPYTER_RUNTIME_DIR=str(folder / "runtime")),
        running_hub("managed", folder, models) as running,
    ):
        running.wait_for(f"{running.url}{path}/api/version")
        tokens = {f"{name.upper()}_TOKEN": running.token(name) for name in ("alice", "bob")}
        yield {"JUPYTER_OLLAMA_URL": running.url + path, **tokens}


def main() -> None:
    """Renew the outputs of the examples named on the command line."""
    able = [name for name in notebooks() if name not in LARGE]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(able)}; default: all")
    names = parser.parse_args().names or able
    if unknown := sorted({*names} - {*able}):
        parser.error(f"no example with outputs: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = Library.open(folder / "models")
        for model in ("smollm2", "all-minilm", "gemma3"):
            starter_models.register(model, library)
        for serve, some in ((server, {*names} - HUB), (hub, {*names} & HUB)):
            place = folder / serve.__name__
            place.mkdir()
            if some:
                with serve(folder / "models", place) as variables, environment(**variables):
                    # First the one that lists the models: another makes one more.
                    for name in sorted(some, key=lambda name: (name != "quickstart", name)):
                        sys.stderr.write(f"{name}\n")
                        keep(name)


if __name__ == "__main__":
    main()
