"""`jupyter ollama env`: the variables by which other clients find the server."""

from __future__ import annotations

import argparse
import os

from .command import Command, say
from .launch.target import find_server
from .variables import SHELLS, client_variables, shell_of, statements


class EnvCommand(Command):
    """jupyter ollama env"""

    name = "jupyter-ollama-env"
    verb = "env"
    description = (
        "Print the variables by which the clients of Ollama, OpenAI and Anthropic find the\n"
        "server: the one that OLLAMA_HOST names, else the Jupyter server of this terminal, else\n"
        "127.0.0.1:11434."
    )
    epilog = (
        "examples:\n"
        '  eval "$(jupyter ollama env)"\n'
        "  jupyter ollama env --shell fish | source\n"
        "  jupyter ollama env --shell powershell | Out-String | Invoke-Expression\n"
        "The output has the token of the server: do not print it where others read."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the shell."""
        parser.add_argument(
            "--shell", choices=SHELLS, help="language of the output; default: the one of $SHELL"
        )

    def run(self, arguments: argparse.Namespace) -> None:
        """Print; the server is not asked."""
        address = find_server()
        variables = client_variables(address.url, str(address.token or ""))
        say(statements(variables, arguments.shell or shell_of(os.environ.get("SHELL", ""))))
