"""The base of all commands: arguments by argparse, settings by traitlets, plain output."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import ClassVar, NoReturn

from jupyter_core.application import JupyterApp

SETTING = re.compile(
    r"--([A-Z]\w*\.\w+=.*|log-level=.*|config=.*|debug|generate-config|y|show-config|help-all)",
    re.DOTALL,
)


class CommandError(Exception):
    """An error of the command line itself; its text is printed after ``Error:``."""


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser that reports like every other error does, with exit status 1."""

    def error(self, message: str) -> NoReturn:
        """Raise CommandError with a pointer to the help text."""
        raise CommandError(f"{message}\nSee: {self.prog} --help")


class Command(JupyterApp):
    """A subcommand of `jupyter ollama`.

    traitlets cannot parse ``run MODEL --verbose PROMPT``, so arguments go to argparse, and
    settings (``--Class.trait=value``, ``--debug``, ``--config=FILE``) to traitlets.
    """

    verb: ClassVar[str] = ""
    epilog: ClassVar[str] = ""

    def _config_file_name_default(self) -> str:
        # The file that the server extension reads as well.
        return "jupyter_ollama_config"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments of this command."""

    def run(self, arguments: argparse.Namespace) -> None:
        """Do the work."""
        raise NotImplementedError

    def parse_command_line(self, argv: Sequence[str] | None = None) -> None:
        """Parse arguments and settings; prints help and exits for ``-h`` and ``--help``."""
        own, settings = split_settings(sys.argv[2:] if argv is None else argv)
        parser = ArgumentParser(
            prog=f"jupyter ollama {self.verb}",
            description=self.description,
            epilog=self.epilog or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_arguments(parser)
        if "--help-all" not in settings:
            self.arguments = parser.parse_intermixed_args(own)
        super().parse_command_line(settings)

    def start(self) -> None:
        """Run the command."""
        super().start()
        self.run(self.arguments)


def split_settings(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into (arguments, settings); all after ``--`` are arguments."""
    end = argv.index("--") if "--" in argv else len(argv)
    settings = [item for item in argv[:end] if SETTING.fullmatch(item)]
    own = [item for item in argv[:end] if not SETTING.fullmatch(item)]
    return [*own, *argv[end:]], settings


def say(text: str = "", end: str = "\n") -> None:
    """Write to standard output at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def note(text: str, end: str = "\n") -> None:
    """Write to standard error: output besides the answer of the command."""
    sys.stderr.write(text + end)
    sys.stderr.flush()
