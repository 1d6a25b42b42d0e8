"""A Jupyter server with the model "agent" alone, and settings of an administrator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_models import Answer, write_agent
from jupyterlab_page import add_lab_extension, lab_server
from run_notebook import Server
from store_models import add_model

from jupyter_ollama.library.library import Library


def prepare(home: Path, tasks: Mapping[str, Sequence[Answer]]) -> None:
    """Write the model, which works by the scripts of tasks, and the extension into a folder."""
    path = write_agent(home / "agent.gguf", tasks)
    add_model(Library.open(home / "models"), "agent", path)
    add_lab_extension(home)


@contextmanager
def agent_server(home: Path, **traits: Any) -> Iterator[Server]:
    """Start the server of a prepared folder with traits of OllamaServer, its model loaded."""
    with lab_server(home, home / "models", spare_runner_seconds=0, **traits) as server:
        server.call("POST", "/ollama/api/generate", {"model": "agent", "keep_alive": -1})
        yield server
