"""`jupyter ollama create`: read a Modelfile, upload what it names, let the server do the rest."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .command import CommandError, note
from .connection import ClientCommand
from .formats import size

CHUNK = 2**20


class CreateCommand(ClientCommand):
    """jupyter ollama create"""

    name = "jupyter-ollama-create"
    verb = "create"
    description = (
        "Make a model from a Modelfile. FROM names a model of the store, a GGUF file, or a folder\n"
        "of safetensors; files are uploaded unless the server has them."
    )
    epilog = (
        "example:\n"
        "  printf 'FROM smollm2\\nSYSTEM Answer in rhymes.\\n' > Modelfile\n"
        "  jupyter ollama create poet -f Modelfile"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take a name, the Modelfile and the type to quantize to."""
        add = parser.add_argument
        add("model", metavar="NAME")
        add("-f", "--file", metavar="FILE", default="Modelfile", help="default: Modelfile")
        add("-q", "--quantize", metavar="TYPE", help="quantize the weights: q4_0, q8_0 …")
        add("--draft-quantize", metavar="TYPE", help="quantize the draft model")

    def run(self, arguments: argparse.Namespace) -> None:
        """Upload, then show what the server does."""
        from ..library.modelfile import parse  # pulls in the store's formats

        path = Path(arguments.file).expanduser()
        progress = Progress()
        try:
            body, files = parse(path.read_bytes()).to_request(path.resolve().parent)
            for file in files:
                body.setdefault(file.field, {})[file.name] = self.upload(file.path, progress)
        except OSError as error:
            raise CommandError(f"{error.filename or path}: {error.strerror or error}") from error
        except ValueError as error:
            raise CommandError(str(error)) from error
        for option in ("quantize", "draft_quantize"):
            if getattr(arguments, option):
                body[option] = getattr(arguments, option)
        for step in self.client.create(arguments.model, **body):
            progress.show(step)
        progress.close()

    def upload(self, file: Path, progress: Progress) -> str:
        """Send a file unless the server has it, and return its digest."""
        total = file.stat().st_size
        digest = "sha256:" + hash_file(file, progress)
        if not self.client.has_blob(digest):
            self.client.call(
                "POST",
                f"/api/blobs/{digest}",
                content=read_file(file, f"uploading {file.name}", progress),
                headers={"Content-Length": str(total)},
            )
        return digest


def hash_file(file: Path, progress: Progress) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    for piece in read_file(file, f"reading {file.name}", progress):
        digest.update(piece)
    return digest.hexdigest()


def read_file(file: Path, status: str, progress: Progress) -> Iterator[bytes]:
    """Yield a file piece by piece and show how far it is."""
    total, done = file.stat().st_size, 0
    with file.open("rb") as source:
        while piece := source.read(CHUNK):
            done += len(piece)
            progress.show({"status": status, "completed": done, "total": total})
            yield piece


class Progress:
    """Shows the steps of a task on standard error: a line each, the current one kept up to date."""

    def __init__(self) -> None:
        self.status = ""
        self.terminal = sys.stderr.isatty()

    def show(self, step: dict[str, Any]) -> None:
        """Show one step: its status and, where the server tells them, the bytes done."""
        status, total = step.get("status", ""), step.get("total", 0)
        if status != self.status:
            self.close()
            self.status = status
            note(status, end="" if self.terminal else "\n")
        if total and self.terminal:
            done = step.get("completed", 0)
            note(f"\r\x1b[2K{status}  {done * 100 // total} % of {size(total)}", end="")

    def close(self) -> None:
        """End the current line."""
        if self.status and self.terminal:
            note("")
        self.status = ""
