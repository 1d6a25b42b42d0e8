"""The server that comes with llama-cpp-python. It serves one request at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from client import Answer, Line
from contender import Contender
from llama_cpp.llama_grammar import json_schema_to_gbnf
from llama_server import CACHE


def server_packages() -> Path:
    """Return a folder with the server's dependencies except llama-cpp-python, installed if need be.

    It is separate from the project's environment. Raises CalledProcessError.
    """
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    name = f"{version('llama-cpp-python')}-{python}"
    folder = CACHE / "llama-cpp-python-server" / name
    if folder.exists():
        return folder
    extras = requires("llama-cpp-python") or []
    stated = (re.match(r"(.*?);.*extra == .server", one) for one in extras)
    packages = [found[1].strip() for found in stated if found]
    unfinished = folder.with_name(f"{name}.{os.getpid()}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([*command, "--target", str(unfinished), *packages], check=True)
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


class LlamaCppPythonServer(Contender):
    """llama-cpp-python's server, by OpenAI's completions API."""

    name = "llama-cpp-python"
    path = "/v1/completions"
    alive_path = "/v1/models"

    def __init__(self, folder: Path, packages: Path, model: Path) -> None:
        super().__init__(folder)
        self._packages = packages
        self._model = model

    def command(self, port: int) -> list[str]:
        line = [sys.executable, "-m", "llama_cpp.server", "--model", str(self._model)]
        line += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", str(self.setup.num_ctx)]
        line += ["--n_threads", str(self.threads), "--n_threads_batch", str(self.threads)]
        # Its defaults keep the logits of whole prompts and end a stream when another request
        # arrives.
        line += ["--logits_all", "false", "--interrupt_requests", "false"]
        return [*line, "--n_gpu_layers", "-1", "--flash_attn", "true", "--verbose", "false"]

    def variables(self) -> dict[str, str]:
        return {**super().variables(), "PYTHONPATH": str(self._packages)}

    def body(self, prompt: str, predict: int, schema: Any) -> dict[str, Any]:
        constraint = {}
        if schema is not None:
            constraint = {"grammar": json_schema_to_gbnf(json.dumps(schema))}
        options = {"temperature": 0, "repeat_penalty": 1.0, "max_tokens": predict}
        return {"prompt": prompt, "stream": True, **options, **constraint}

    def read(self, asked: float, predict: int, lines: list[Line]) -> Answer:
        choices = [(when, line["choices"][0]) for when, line in lines]
        pieces = [(when, choice["text"]) for when, choice in choices if choice["text"]]
        ended = choices[-1][1]["finish_reason"] == "stop"
        # It does not report the number of tokens; a piece is one of them, unless a token has no
        # text.
        return Answer(asked, pieces, len(pieces) if ended else predict, ended)
