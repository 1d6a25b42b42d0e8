"""`jupyter ollama create`: read a Modelfile, upload its files, let the server create the model."""

from __future__ import annotations

import argparse
from pathlib import Path

from jupyter_ollama_client.modelfile import parse

from .command import CommandError
from .connection import ClientCommand
from .progress import ProgressLines
from .upload import SharingUploader


class CreateCommand(ClientCommand):
    """jupyter ollama create"""

    name = "jupyter-ollama-create"
    verb = "create"
    description = (
        "Make a model from a Modelfile. FROM names a model of the store, a GGUF file, or a folder\n"
        "of safetensors; files are uploaded unless the server has them. With a store of your own\n"
        "on this host they are shared, not copied: by reflinks where the file system has them, by\n"
        "hard links if they are read-only."
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
        add(
            "--link",
            action="store_true",
            help="make files read-only, to share by hard links",
        )

    def run(self, arguments: argparse.Namespace) -> None:
        """Upload, then show the steps of the server."""
        from ..config import OllamaServer

        path = Path(arguments.file).expanduser()
        progress = ProgressLines()
        models = Path(OllamaServer(parent=self).models_dir).expanduser()
        uploader = SharingUploader(self.client, models, arguments.link, progress.show)
        try:
            modelfile = parse(path.read_bytes())
            body = uploader.request(modelfile, path.resolve().parent)
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
