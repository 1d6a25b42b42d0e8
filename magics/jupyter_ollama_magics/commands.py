"""What ``%ollama`` does: the subcommands with what they need of the magics."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

from . import history, ollama_command
from .discovery import discover, parse_host
from .failures import OllamaMagicsError, reported

if TYPE_CHECKING:
    from .chat import Chats
    from .connection import Connection, ModelNames
    from .magics import OllamaMagics
    from .progress import NotebookSteps, TerminalSteps


class Commands:
    """The subcommands of ``%ollama``."""

    def __init__(
        self, magics: OllamaMagics, connection: Connection, chats: Chats, names: ModelNames
    ) -> None:
        self._magics = magics
        self._connection = connection
        self._chats = chats
        self._names = names

    def run(self, args: argparse.Namespace) -> Any:
        """Run the subcommand of a parsed line and return what it shows, if that is a table."""
        if args.cell is not None and args.command != "create":
            raise OllamaMagicsError("Only create takes a cell: %%ollama create NAME.")
        with reported(self._connection, args.words[0] if args.words else None):
            return ollama_command.run(args.command, args.words, self._actions(args))

    def _actions(self, args: argparse.Namespace) -> dict[str, Callable[..., Any]]:
        connection = self._connection
        return {
            "list": lambda: ollama_command.list_models(connection),
            "ps": lambda: ollama_command.list_loaded(connection),
            "show": lambda name: _say(ollama_command.describe(connection, name)),
            "pull": lambda name: self._pull(name, args.insecure),
            "use": self._use,
            "cp": self._copy,
            "rm": self._remove,
            "create": lambda name, base="": self._create(name, base, args),
            "stop": self._stop,
            "usage": self._usage,
            "history": self._history,
            "new": self._new,
            "version": self._version,
            "connect": lambda url="": self._connect(url, args.token),
            "help": lambda: _say(ollama_command.HELP),
        }

    def _pull(self, name: str, insecure: bool) -> None:
        with (
            self._progress() as view,
            closing(self._connection.client.pull(name, insecure=insecure or None)) as steps,
        ):
            for step in steps:
                view.show(step)
            view.close()
        self._names.forget()

    def _progress(self) -> AbstractContextManager[NotebookSteps | TerminalSteps]:
        from .progress import shown_steps

        return shown_steps(self._magics.shell, self._magics.refresh_hz)

    def _use(self, name: str) -> None:
        connection = self._connection
        entry = connection.entry(name)
        if entry is None:
            raise OllamaMagicsError(f"model '{name}' not found{connection.suggestion(name)}")
        abilities = connection.capabilities(entry)
        embeds_only = "embedding" in abilities and "completion" not in abilities
        if embeds_only:
            self._magics.embed_model = entry["name"]
        else:
            self._magics.model = self._chats.model = entry["name"]
        magic = "%embed" if embeds_only else "%%chat"
        _say(f"{magic} uses {entry['name']}.")

    def _copy(self, name: str, new_name: str) -> None:
        self._connection.client.copy(name, new_name)
        self._names.forget()
        _say(f"{name} is also {new_name}.")

    def _remove(self, name: str) -> None:
        self._connection.client.delete(name)
        self._names.forget()
        _say(f"Removed {name}.")

    def _create(self, name: str, base: str, args: argparse.Namespace) -> None:
        from . import create
        from .upload import Uploader

        client = self._connection.client
        with self._progress() as view:
            body = create.request(Uploader(client, view.show), base, args)
            with closing(client.create(name, **body)) as steps:
                for step in steps:
                    view.show(step)
            view.close(f"Created {name}.")
        self._names.forget()

    def _stop(self, name: str) -> None:
        body = {"model": name, "keep_alive": 0, "stream": False}
        self._connection.client.call("POST", "/api/generate", body)
        _say(f"{name} leaves the memory.")

    def _usage(self) -> Any:
        line, table = ollama_command.usage(self._connection)
        _say(line)
        return table

    def _history(self, action: str = "list", file: str = "") -> Any:
        if action == "list" and not file:
            return history.table(self._chats)
        if action not in ("save", "load") or not file:
            raise OllamaMagicsError("Usage: %ollama history [save FILE | load FILE]")
        return _say((history.save if action == "save" else history.load)(self._chats, file))

    def _new(self, conversation: str = "default") -> None:
        self._chats.conversation(conversation, new=True)
        _say(f"The conversation {conversation} begins afresh.")

    def _version(self) -> None:
        endpoint = self._connection.endpoint
        version = self._connection.client.version()
        _say(f"Ollama API {version} at {endpoint.url} ({endpoint.source})")

    def _connect(self, url: str, token: str) -> None:
        """Use another server, after it has answered."""
        endpoint = discover(parse_host(url), token) if url else discover()
        client = endpoint.client()
        try:
            client.version()
        finally:
            client.close()
        magics = self._magics
        magics.url, magics.token = (endpoint.url, token) if url else ("", "")
        self._connection.reset()
        self._names.forget()
        self._version()


def _say(text: str) -> None:
    print(text)  # noqa: T201
