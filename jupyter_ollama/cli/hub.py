"""`jupyter ollama hub`: the API as one endpoint for all users of a JupyterHub."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from ..config import OllamaServer
from ..hub import server
from ..hub.authorizer import OllamaAuthorizer
from .command import Command, CommandError, split_settings


class HubCommand(Command):
    """jupyter ollama hub"""

    name = "jupyter-ollama-hub"
    verb = "hub"
    description = (
        "Serve the Ollama API to the users of a JupyterHub, each under her name there. The Hub\n"
        "starts this as a service, or gets the address of one elsewhere. Nothing else of a\n"
        "Jupyter server is there: no kernels, no files, no terminals."
    )
    epilog = """\
A service that the Hub starts needs no arguments. For any other, put the service's api_token into
the variable JUPYTERHUB_API_TOKEN and give --hub-api and --listen.

settings (also in jupyter_ollama_config.py; --help-all describes them and those of the server):
  --OllamaAuthorizer.may_run       groups or custom scopes that may run models (all with access)
  --OllamaAuthorizer.may_manage    ... and change them (custom:ollama:manage)
  --OllamaAuthorizer.may_admin     ... and administer the server (custom:ollama:admin)
  --HubOAuth.cache_max_age         seconds until a removed user is out (60)"""
    classes = [OllamaServer, OllamaAuthorizer]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the settings that the Hub puts into the environment of its own services."""
        parser.add_argument(
            "--name", default="ollama", help="name of the service at the Hub (ollama)"
        )
        parser.add_argument(
            "--hub-api", default="", metavar="URL", help="API of the Hub, as this host reaches it"
        )
        parser.add_argument(
            "--allow-root", action="store_true", help="start although the user is root"
        )
        parser.add_argument(
            "--listen", default="", metavar="HOST:PORT", help="where the Hub's proxy reaches this"
        )

    def parse_command_line(self, argv: Sequence[str] | None = None) -> None:
        """Keep the settings for the server as well."""
        _, self.settings = split_settings(sys.argv[2:] if argv is None else argv)
        super().parse_command_line(argv)

    def run(self, arguments: argparse.Namespace) -> None:
        """Serve until SIGTERM."""
        if find_spec("jupyterhub") is None:
            raise CommandError('JupyterHub is not installed: pip install "jupyter-ollama[hub]"')
        type(self).clear_instance()  # a Jupyter server must be the only application
        try:
            server.complete(os.environ, arguments.name, arguments.hub_api, arguments.listen)
            server.serve([*self.settings, *["--allow-root"] * arguments.allow_root])
        except server.LaunchError as error:
            raise CommandError(str(error)) from error
