"""The commands that manage models: list, ps, cp, rm, stop."""

from __future__ import annotations

import argparse

from jupyter_ollama_client.client import Client
from jupyter_ollama_client.errors import OllamaResponseError
from jupyter_ollama_client.readable import age, expiry, moment, size

from .command import CommandError, note, say
from .connection import ClientCommand
from .formats import table


class ListCommand(ClientCommand):
    """jupyter ollama list"""

    name = "jupyter-ollama-list"
    verb = "list"
    description = "List the models of the store, newest first."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the beginning of a name."""
        parser.add_argument("prefix", metavar="PREFIX", nargs="?", default="")
        parser.description = f"{self.description} PREFIX keeps those whose name begins with it."

    def run(self, arguments: argparse.Namespace) -> None:
        """Print a table."""
        prefix = arguments.prefix.lower()
        rows = [
            (
                model["name"],
                model["digest"][:12],
                size(model["size"]),
                age(moment(model["modified_at"])),
            )
            for model in self.client.list()
            if model["name"].lower().startswith(prefix)
        ]
        say(table(("NAME", "ID", "SIZE", "MODIFIED"), rows))


class PsCommand(ClientCommand):
    """jupyter ollama ps"""

    name = "jupyter-ollama-ps"
    verb = "ps"
    description = "List the loaded models, their devices and when they are unloaded."

    def run(self, arguments: argparse.Namespace) -> None:
        """Print a table."""
        rows = [
            (
                model["name"],
                model["digest"][:12],
                size(model["size"]),
                processor(model["size"], model.get("size_vram", 0)),
                str(model.get("context_length", "")),
                expiry(moment(model["expires_at"])),
            )
            for model in self.client.ps()
        ]
        say(table(("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"), rows))


def processor(total: int, on_gpu: int) -> str:
    """Return the distribution of a model's bytes: 100% GPU, or 48%/52% CPU/GPU."""
    if on_gpu == 0:
        return "100% CPU"
    if on_gpu >= total:
        return "100% GPU"
    share = round((total - on_gpu) / total * 100)
    return f"{share}%/{100 - share}% CPU/GPU"


class CopyCommand(ClientCommand):
    """jupyter ollama cp"""

    name = "jupyter-ollama-cp"
    verb = "cp"
    description = "Give a model a second name. Its files are shared, not copied."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take two names."""
        parser.add_argument("source", metavar="SOURCE")
        parser.add_argument("destination", metavar="DESTINATION")

    def run(self, arguments: argparse.Namespace) -> None:
        """Copy."""
        self.client.copy(arguments.source, arguments.destination)
        say(f"copied '{arguments.source}' to '{arguments.destination}'")


class RemoveCommand(ClientCommand):
    """jupyter ollama rm"""

    name = "jupyter-ollama-rm"
    verb = "rm"
    description = "Remove models from the store; loaded ones are unloaded."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take names."""
        parser.add_argument("models", metavar="MODEL", nargs="+")

    def run(self, arguments: argparse.Namespace) -> None:
        """Remove one after the other; those that fail do not keep the others."""
        failed: list[str] = []
        for name in arguments.models:
            try:
                self.client.delete(name)
            except OllamaResponseError as error:
                failed.append(str(error))
            else:
                say(f"deleted '{name}'")
        if failed:
            for message in failed[:-1]:
                note(f"Error: {message}")
            raise CommandError(failed[-1])


class StopCommand(ClientCommand):
    """jupyter ollama stop"""

    name = "jupyter-ollama-stop"
    verb = "stop"
    description = "Unload a model as soon as its running requests are done."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take a name."""
        parser.add_argument("model", metavar="MODEL")

    def run(self, arguments: argparse.Namespace) -> None:
        """Unload."""
        try:
            unload(self.client, arguments.model)
        except OllamaResponseError as error:
            if error.status == 404:
                raise CommandError(f'couldn\'t find model "{arguments.model}" to stop') from error
            raise


def unload(client: Client, name: str) -> None:
    """Ask the server to unload a model; an empty prompt with keep_alive 0 never loads one."""
    for _ in client.generate(model=name, prompt="", keep_alive=0):
        pass
