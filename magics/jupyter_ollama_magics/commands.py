"""The subcommands of ``%ollama``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any, Protocol

from IPython.core.magic_arguments import argument
from jupyter_ollama_client.addresses import parse_host
from jupyter_ollama_client.credentials import token_in
from jupyter_ollama_client.discovery import discover
from jupyter_ollama_client.errors import OllamaResponseError

from . import history, listings
from .failures import OllamaMagicsError
from .reporting import reported
from .subcommand import MODELS, find, help_text, subcommand, table

if TYPE_CHECKING:
    import pandas as pd

    from .chat import Chats
    from .connection import Connection, ModelNames
    from .progress import NotebookSteps, TerminalSteps


class MagicSettings(Protocol):
    """The settings of the magics that subcommands read and change."""

    shell: Any
    url: Any
    token: Any
    model: Any
    embed_model: Any
    refresh_hz: Any


class Commands:
    """The subcommands of ``%ollama``, each a decorated method. They print text, return tables."""

    def __init__(
        self, settings: MagicSettings, connection: Connection, chats: Chats, names: ModelNames
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._chats = chats
        self._names = names

    def run(self, args: argparse.Namespace) -> Any:
        """Run the subcommand of a parsed line and return its table, if it has one."""
        if args.cell is not None and args.command != "create":
            raise OllamaMagicsError("Only create takes a cell: %%ollama create NAME.")
        command = find(SUBCOMMANDS, args.command)
        model = args.words[0] if args.words else None
        with reported(self._connection, model, suggests_pull=command.suggests_pull):
            return command(self, args)

    @subcommand("list", "the models on the server, as a DataFrame")
    def list(self) -> pd.DataFrame:
        """Return the models on the server, newest first; ``size`` is in bytes."""
        return listings.models(self._connection.client.list())

    @subcommand("ps", "the models in memory, as a DataFrame")
    def ps(self) -> pd.DataFrame:
        """Return the loaded models; ``size``, ``on_gpu`` are in bytes, ``context`` in tokens."""
        return listings.loaded_models(self._connection.client.ps())

    @subcommand("show NAME", "what a model is and can do", completes=[MODELS], suggests_pull=True)
    def show(self, name: str) -> None:
        """Print a summary of a model in aligned lines."""
        _say(listings.summary(name, self._connection.client.show(name)))

    @subcommand(
        "pull NAME [--insecure]",
        "have the server get a model from a registry",
        options=[
            argument(
                "--insecure", action="store_true", help="Let pull ask a registry by plain HTTP."
            )
        ],
    )
    def pull(self, name: str, *, insecure: bool) -> None:
        """Pull a model, with a progress bar for each layer."""
        with (
            self._progress() as view,
            closing(self._connection.client.pull(name, insecure=insecure or None)) as steps,
        ):
            for step in steps:
                view.show(step)
            view.close()
        self._names.forget()

    @subcommand(
        "use NAME",
        "the model of the next %%chat (or %embed, if it embeds)",
        completes=[MODELS],
        suggests_pull=True,
    )
    def use(self, name: str) -> None:
        """Choose the model of ``%%chat`` or ``%embed``."""
        connection = self._connection
        entry = connection.entry(name)
        if entry is None:
            raise OllamaResponseError(404, f"model '{name}' not found")
        abilities = connection.capabilities(entry)
        embeds_only = "embedding" in abilities and "completion" not in abilities
        if embeds_only:
            self._settings.embed_model = entry["name"]
        else:
            self._settings.model = self._chats.model = entry["name"]
        magic = "%embed" if embeds_only else "%%chat"
        _say(f"{magic} uses {entry['name']}.")

    @subcommand("cp NAME NEW", "copy a model to a second name", completes=[MODELS])
    def cp(self, name: str, new_name: str) -> None:
        """Copy a model."""
        self._connection.client.copy(name, new_name)
        self._names.forget()
        _say(f"{name} is also {new_name}.")

    @subcommand("rm NAME", "remove a model from the server", completes=[MODELS])
    def rm(self, name: str) -> None:
        """Remove a model."""
        self._connection.client.delete(name)
        self._names.forget()
        _say(f"Removed {name}.")

    @subcommand(
        "create NAME FROM",
        "make a model of another or of a GGUF file\n[--system TEXT] [-p KEY=VALUE] [-q TYPE]",
        ("create NAME -f MODELFILE", "make a model by a Modelfile"),
        ("%%ollama create NAME", "make a model by the Modelfile that is the cell"),
        options=[
            argument("-f", dest="file", default="", metavar="MODELFILE", help="For create."),
            argument(
                "-q", "--quantize", metavar="TYPE", help="Weights that create makes: q4_0, q8_0…"
            ),
            argument("--system", metavar="TEXT", help="System message for create."),
            argument(
                "-p",
                dest="parameter",
                action="append",
                metavar="KEY=VALUE",
                help="Option for create.",
            ),
        ],
        completes=[None, MODELS],
    )
    def create(
        self,
        name: str,
        base: str = "",
        *,
        file: str,
        cell: str | None,
        system: str | None,
        parameter: Sequence[str] | None,
        quantize: str | None,
    ) -> None:
        """Create a model of another one, of a file or by a Modelfile, which may be the cell."""
        from jupyter_ollama_client.upload import Uploader

        from . import create

        client = self._connection.client
        with self._progress() as view:
            body = create.request(
                Uploader(client, view.show),
                base,
                file,
                cell,
                system=system,
                parameter=parameter,
                quantize=quantize,
            )
            with closing(client.create(name, **body)) as steps:
                for step in steps:
                    view.show(step)
            view.close(f"Created {name}.")
        self._names.forget()

    @subcommand("stop NAME", "unload a model from memory", completes=[MODELS])
    def stop(self, name: str) -> None:
        """Unload a model."""
        body = {"model": name, "keep_alive": 0, "stream": False}
        self._connection.client.call("POST", "/api/generate", body)
        _say(f"Unloading {name}.")

    @subcommand("usage", "what you have used of a shared server, as a DataFrame")
    def usage(self) -> pd.DataFrame:
        """Print the user's limits and requests; return their tokens by period and model."""
        try:
            account = self._connection.client.call("GET", "/usage")
        except OllamaResponseError as error:
            if error.status != 404:
                raise
            raise OllamaMagicsError("This server keeps no account of usage.") from error
        _say(listings.usage_line(account))
        return listings.usage(account)

    @subcommand(
        "jobs",
        "your jobs on the server, as a DataFrame",
        ("jobs cancel ID", "cancel a job; its answers so far are kept"),
        completes=[("cancel",)],
    )
    def jobs(self, action: str = "list", job_id: str = "") -> pd.DataFrame | None:
        """Return the jobs that ``.ollama.submit`` or other clients have begun, or cancel one."""
        from jupyter_ollama_client.batches import BatchClient

        if (action, bool(job_id)) not in (("list", False), ("cancel", True)):
            raise OllamaMagicsError("Usage: %ollama jobs [cancel ID]")
        batches = BatchClient(self._connection.client)
        if action == "cancel":
            _say(f"{job_id} is {batches.cancel(job_id)['status']}.")
            return None
        return listings.jobs(batches.list())

    @subcommand(
        "history",
        "the conversations, as a DataFrame",
        ("history save FILE", "write the conversations to a file"),
        ("history load FILE", "read conversations from a file"),
        completes=[("save", "load")],
    )
    def history(self, action: str = "list", file: str = "") -> Any:
        """Return the conversations, or save or load them."""
        if action == "list" and not file:
            return history.table(self._chats)
        if action not in ("save", "load") or not file:
            raise OllamaMagicsError("Usage: %ollama history [save FILE | load FILE]")
        return _say((history.save if action == "save" else history.load)(self._chats, file))

    @subcommand("new [NAME]", "empty a conversation")
    def new(self, conversation: str = "default") -> None:
        """Empty a conversation."""
        self._chats.conversation(conversation, new=True)
        _say(f"The conversation {conversation} is empty.")

    @subcommand("version", "the server's version and address")
    def version(self) -> None:
        """Print the server's version and address, and how the address was found."""
        address = self._connection.address
        version = self._connection.client.version()
        _say(f"Ollama API {version} at {address.url} ({address.source})")

    @subcommand(
        "connect URL [--token TOKEN]",
        "use another server",
        ("connect", "find the server again"),
        options=[argument("--token", default="", help="Token for connect.")],
    )
    def connect(self, url: str = "", *, token: str) -> None:
        """Use another server, after it has answered."""
        client = (discover(url, token) if url else discover()).client()
        try:
            client.version()
        finally:
            client.close()
        # The trait keeps a user and a password; the token may be part of the address.
        self._settings.url = parse_host(url) if url else ""
        self._settings.token = (token or token_in(url)) if url else ""
        self._connection.reset()
        self._names.forget()
        self.version()

    @subcommand("help", "the list of commands")
    def help(self) -> None:
        """Print the usages of all subcommands."""
        _say(help_text(SUBCOMMANDS))

    def _progress(self) -> AbstractContextManager[NotebookSteps | TerminalSteps]:
        from .progress import shown_steps

        return shown_steps(self._settings.shell, self._settings.refresh_hz)


SUBCOMMANDS = table(Commands)


def _say(text: str) -> None:
    print(text)  # noqa: T201
