"""`jupyter ollama setup`: have new kernels load the magics by themselves."""

from __future__ import annotations

import argparse
from pathlib import Path

from jupyter_ollama_client import autoload

from .command import Command, CommandError, say

ON = "New kernels load the magics: %%chat works without %load_ext."
OFF = "New kernels do not load the magics; %load_ext jupyter_ollama does."


class SetupCommand(Command):
    """jupyter ollama setup"""

    name = "jupyter-ollama-setup"
    verb = "setup"
    description = (
        "Have every new kernel of this user load the magics, so that %%chat works without\n"
        "%load_ext. Without an option, say whether they do."
    )
    epilog = (
        "--autoload adds some lines to ipython_config.py of the profile; all others stay as they\n"
        "are. --no-autoload removes those lines again."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the choice, and the profile."""
        parser.add_argument(
            "--autoload",
            action=argparse.BooleanOptionalAction,
            help="load the magics in new kernels, or no longer",
        )
        parser.add_argument(
            "--profile", default="default", metavar="NAME", help="of IPython (%(default)s)"
        )

    def run(self, arguments: argparse.Namespace) -> None:
        """Change the configuration of IPython and report it."""
        profile = arguments.profile
        path = autoload.config_file(profile)
        try:
            if arguments.autoload is None:
                enabled = autoload.is_enabled(profile)
                say(f"{ON}\nOff: " if enabled else f"{OFF}\nOn: ", end="")
                say(f"jupyter ollama setup --{'no-' if enabled else ''}autoload")
            elif arguments.autoload:
                say(f"{ON}\n{result(autoload.enable(profile), path)}")
            else:
                say(f"{OFF}\n{result(autoload.disable(profile), path)}")
        except autoload.AutoloadError as error:
            raise CommandError(str(error)) from error


def result(changed: bool, path: Path) -> str:
    """Return what happened to the configuration."""
    return f"Changed: {path}" if changed else f"Nothing to change in {path}"
