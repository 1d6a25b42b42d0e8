"""`jupyter ollama run`: one question from the command line or a pipe, or a conversation."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from jupyter_ollama_client.errors import OllamaResponseError
from jupyter_ollama_client.thinking import think_value

from .command import CommandError, note, say
from .connection import ClientCommand
from .conversation import AnswerPrinter, ChatHistory, RunSettings, metrics
from .transfer import transfer
from .waiting import after_waiting, waiting


class RunCommand(ClientCommand):
    """jupyter ollama run"""

    name = "jupyter-ollama-run"
    verb = "run"
    description = (
        "Ask a model; one that is not there is pulled first. Without PROMPT, on a terminal, this\n"
        "is a conversation: /? lists what it understands. Text from a pipe goes before PROMPT. An\n"
        "embedding model prints the embedding of the text as JSON."
    )
    epilog = (
        "examples:\n"
        '  jupyter ollama run smollm2 "Why is the sky blue?"\n'
        '  git diff | jupyter ollama run smollm2 "Describe this change in a sentence:"\n'
        "  jupyter ollama run smollm2"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the model, the words of the prompt and the settings of the request."""
        add = parser.add_argument
        add("model", metavar="MODEL")
        add("prompt", metavar="PROMPT", nargs="*", default=[])
        add("--verbose", action="store_true", help="print times and rates after each answer")
        add("--format", metavar="FORMAT", help="'json', or a JSON schema that the answer follows")
        add(
            "--think",
            type=think_value,
            metavar="LEVEL",
            help="true, false, low, medium, high, max, or the most tokens of thinking",
        )
        add("--insecure", action="store_true", help="pull it by plain HTTP if it is missing")
        add("--nowordwrap", action="store_true", help="do not break lines between words")
        add(
            "--keepalive",
            metavar="TIME",
            type=keep_alive,
            help="how long the model stays loaded: 10m, 0, -1",
        )

    def run(self, arguments: argparse.Namespace) -> None:
        """Answer one prompt if there is one, else hold a conversation."""
        settings = RunSettings(
            model=arguments.model,
            think=arguments.think,
            format=parse_format(arguments.format),
            keep_alive=arguments.keepalive,
            verbose=arguments.verbose,
            wrap=not arguments.nowordwrap,
        )
        interactive = sys.stdin.isatty() and not arguments.prompt
        prompt = " ".join(arguments.prompt)
        if not sys.stdin.isatty():
            prompt = "\n".join(part for part in (sys.stdin.read().strip(), prompt) if part)
        capabilities = self.facts(arguments.model, arguments.insecure).get("capabilities") or []
        if "embedding" in capabilities:
            self.embed(arguments.model, prompt, arguments.keepalive)
        elif interactive:
            from .repl import Repl  # readline, for conversations only

            if settings.keep_alive not in (0, "0s"):  # that would unload it, also for others
                self.load(settings)
            Repl(ChatHistory(self.client, settings)).loop()
        else:
            self.answer(prompt, settings)

    def facts(self, model: str, insecure: bool) -> dict[str, Any]:
        """Return the server's description of a model, pulling it first if it is missing."""
        try:
            return self.client.show(model)
        except OllamaResponseError as error:
            if error.status != 404:
                raise
        transfer(self.client, "pull", model, insecure)
        return self.client.show(model)

    def answer(self, prompt: str, settings: RunSettings) -> None:
        """Print the answer to one prompt; an empty one only loads the model."""
        if not prompt:
            self.load(settings)
            return
        answer = AnswerPrinter(settings.wrap)
        stream = self.client.generate(prompt=prompt, **settings.request())
        answer.show(after_waiting(stream, self.client, settings.model))
        if settings.verbose:
            note(metrics(answer.final))

    def load(self, settings: RunSettings) -> None:
        """Have the server load the model."""
        for _ in after_waiting(
            self.client.generate(prompt="", **settings.request()), self.client, settings.model
        ):
            pass

    def embed(self, model: str, text: str, keep_alive: int | str | None) -> None:
        """Print the embedding of ``text``."""
        if not text:
            raise CommandError(f"{model} is an embedding model and needs a text")
        body = {"model": model, "input": text, "keep_alive": keep_alive}
        with waiting(self.client, model):
            vectors = self.client.call("POST", "/api/embed", body)["embeddings"]
        say(json.dumps(vectors[0]))


def keep_alive(text: str) -> int | str:
    """Return the ``keep_alive`` field: seconds as a number, else a duration as it is."""
    try:
        return int(text)
    except ValueError:
        return text


def parse_format(text: str | None) -> Any:
    """Return the ``format`` field: None, "json", or the schema that ``text`` is."""
    if not text or text == "json":
        return text or None
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"--format is neither 'json' nor a JSON schema: {error}") from error
