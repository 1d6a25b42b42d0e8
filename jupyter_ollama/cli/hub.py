"""`jupyter ollama hub`: the API as one endpoint for all users of a JupyterHub."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from ..config import OllamaServer
from ..hub import server
from ..hub.authorizer import OllamaAuthorizer
from ..hub.slurm.inside_job import JobSettings
from ..hub.slurm.settings import SlurmEndpoint
from ..hub.unavailable import RETRY_AFTER, stay
from .command import Command, CommandError, note, split_settings


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
  --SlurmEndpoint.gpus             with --slurm: what the job requests, as sbatch --gres (gpu:1)
  --SlurmEndpoint.idle_minutes     ... and when it ends without requests (15)
  --HubOAuth.cache_max_age         seconds until a removed user is out (60)"""
    classes = [OllamaServer, OllamaAuthorizer, SlurmEndpoint]

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
        parser.add_argument(
            "--slurm",
            action="store_true",
            help="run the models in a Slurm job, submitted when requests come",
        )
        # What a front gives to the command of its job.
        parser.add_argument("--register", default="", help=argparse.SUPPRESS)
        parser.add_argument("--idle-minutes", type=float, default=0.0, help=argparse.SUPPRESS)

    def parse_command_line(self, argv: Sequence[str] | None = None) -> None:
        """Keep the settings for the server as well."""
        _, self.settings = split_settings(sys.argv[2:] if argv is None else argv)
        super().parse_command_line(argv)

    def run(self, arguments: argparse.Namespace) -> None:
        """Serve until SIGTERM."""
        if find_spec("jupyterhub") is None:
            raise CommandError('JupyterHub is not installed: pip install "jupyter-ollama[hub]"')
        type(self).clear_instance()  # a Jupyter server must be the only application
        # Set by a Hub that has started this process, and that exits with it.
        url = os.environ.get("JUPYTERHUB_SERVICE_URL", "")
        try:
            self._serve(arguments)
        except (server.LaunchError, ValueError) as error:
            self._fail(url, str(error))
        except SystemExit as end:
            if not end.code:
                raise
            self._fail(url, "the server could not start")

    def _serve(self, arguments: argparse.Namespace) -> None:
        """Serve until SIGTERM. Raises LaunchError, ValueError, and SystemExit as Jupyter does."""
        job = None
        if arguments.register:
            job = JobSettings.of_environment(arguments.register, arguments.idle_minutes)
        listen = arguments.listen or ("0.0.0.0:0" if job else "")
        server.complete(os.environ, arguments.name, arguments.hub_api, listen)
        settings = [*self.settings, *["--allow-root"] * arguments.allow_root]
        server.serve(settings, is_front=arguments.slurm, job=job)

    def _fail(self, url: str, reason: str) -> NoReturn:
        """Raise CommandError; not at once for a service of a Hub, which would end with it."""
        if url:
            note(f"Error: {reason}\nThe next attempt follows in {RETRY_AFTER} seconds at most.")
            stay(url, os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "").rstrip("/"))
        raise CommandError(reason)
