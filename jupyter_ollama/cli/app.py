"""`jupyter ollama`: finds the command, runs it, and turns every error into one line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

from jupyter_core.application import JupyterApp
from jupyter_ollama_client.errors import OllamaClientError, OllamaConnectionError
from traitlets import TraitError

from .._version import __version__
from .command import CommandError

COMMANDS = {
    "serve": ("jupyter_ollama.cli.serve.ServeCommand", "start a server for this machine"),
    "hub": ("jupyter_ollama.cli.hub.HubCommand", "start one for all users of a JupyterHub"),
    "install-backend": (
        "jupyter_ollama.cli.install_backend.InstallBackendCommand",
        "add a GPU to llama.cpp",
    ),
    "worker": ("jupyter_ollama.cli.worker.WorkerCommand", "lend this host's memory to another's"),
    "run": ("jupyter_ollama.cli.run.RunCommand", "ask a model, once or in a conversation"),
    "list": ("jupyter_ollama.cli.models.ListCommand", "list the models of the store (also: ls)"),
    "ps": ("jupyter_ollama.cli.models.PsCommand", "list the models that are loaded"),
    "show": ("jupyter_ollama.cli.show.ShowCommand", "show the details of a model"),
    "create": ("jupyter_ollama.cli.create.CreateCommand", "make a model from a Modelfile"),
    "pull": ("jupyter_ollama.cli.transfer.PullCommand", "get a model from a registry"),
    "push": ("jupyter_ollama.cli.transfer.PushCommand", "send a model to a registry"),
    "cp": ("jupyter_ollama.cli.models.CopyCommand", "give a model a second name"),
    "rm": ("jupyter_ollama.cli.models.RemoveCommand", "remove models"),
    "stop": ("jupyter_ollama.cli.models.StopCommand", "unload a model"),
    "launch": (
        "jupyter_ollama.cli.launch.command.LaunchCommand",
        "set another program up for this server, and start it",
    ),
    "env": ("jupyter_ollama.cli.env.EnvCommand", "print the variables that clients read"),
    "batches": ("jupyter_ollama.cli.batches.BatchesCommand", "list your batches, or cancel some"),
    "check": ("jupyter_ollama.cli.check.CheckCommand", "see if the files of models are whole"),
    "setup": ("jupyter_ollama.cli.setup.SetupCommand", "have every notebook load the magics"),
    "doctor": (
        "jupyter_ollama.cli.doctor.command.DoctorCommand",
        "check the installation, and say what to do about faults",
    ),
    "bench": ("jupyter_ollama.cli.bench.BenchCommand", "measure how fast a model runs here"),
}

HEAD = """\
usage: jupyter ollama COMMAND [ARGUMENTS]

Run language models behind the Ollama API, and manage them.

commands:"""

TAIL = """\

Every command has its own --help. serve, hub, bench, check and doctor use the models of
OLLAMA_MODELS themselves, setup and install-backend need none, all others talk to the server
that OLLAMA_HOST names (an address or a URL, default 127.0.0.1:11434) and send OLLAMA_API_KEY as
its token.
For the server inside your Jupyter server: OLLAMA_HOST=http://localhost:8888/ollama"""


class OllamaApp(JupyterApp):
    """The command without a subcommand: prints help, or says that there is no such command."""

    name = "jupyter-ollama"
    description = "Run language models behind the Ollama API, and manage them."
    version = __version__
    subcommands = {**COMMANDS, "ls": COMMANDS["list"]}

    def emit_help(self, classes: bool = False) -> Iterator[str]:
        """Yield the lines of the help text."""
        yield HEAD
        for name, (_, text) in COMMANDS.items():
            yield f"  {name:<15} {text}"
        yield TAIL

    def start(self) -> None:
        """Run the subcommand, or print help."""
        super().start()
        if self.extra_args:
            name = self.extra_args[0]
            raise CommandError(f'unknown command "{name}" for "jupyter ollama"')
        self.print_help()


def main(argv: list[str] | None = None) -> None:
    """Run the command of ``argv`` (default: the process's own) and leave with its exit status."""
    try:
        OllamaApp.launch_instance(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        leave(128 + signal.SIGINT)
    except BrokenPipeError:
        # The reader has closed the pipe; buffered output must not fail a second time at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        leave(1)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        leave(1, message)


def user_message(error: Exception) -> str | None:
    """Return the message for the user, or None for an error of this program."""
    if isinstance(error, OllamaConnectionError) and not error.connected:
        return (
            f"no server answers at {error.url} ({error.reason}). Start one with\n"
            "    jupyter ollama serve\n"
            "or set OLLAMA_HOST to the address of yours."
        )
    if isinstance(error, CommandError | OllamaClientError | TraitError):
        return str(error)
    return None


def leave(status: int, message: str = "") -> NoReturn:
    """Print ``Error: message`` if there is one and end the process."""
    if message:
        sys.stderr.write(f"Error: {message}\n")
    sys.exit(status)
