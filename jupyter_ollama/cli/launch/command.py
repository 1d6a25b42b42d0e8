"""`jupyter ollama launch NAME`: set another program up for this server, and start it."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

from ..command import Command, CommandError, note, say
from ..variables import statements
from .assistants import JUPYTER_AI, NOTEBOOK_INTELLIGENCE, OPEN_WEBUI
from .coding_agents import AIDER, CLAUDE, CODEX, OPENCODE
from .config_file import Planned, plan, restorable, restore, write
from .editor_extensions import CLINE, CONTINUE
from .program import Program
from .target import Target, find_target

PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        OPENCODE,
        CLAUDE,
        CODEX,
        CONTINUE,
        CLINE,
        AIDER,
        OPEN_WEBUI,
        JUPYTER_AI,
        NOTEBOOK_INTELLIGENCE,
    )
}


def _listed() -> str:
    return "\n".join(f"  {program.name:<22} {program.title}" for program in PROGRAMS.values())


class LaunchCommand(Command):
    """jupyter ollama launch"""

    name = "jupyter-ollama-launch"
    verb = "launch"
    description = (
        "Set another program up to use this server, and start it. A file that is changed is shown\n"
        "as a diff first, and kept as it was beside the new one."
    )
    epilog = f"""\
programs:
{_listed()}

The server is the one that OLLAMA_HOST names, else the Jupyter server of this terminal, else
127.0.0.1:11434. What follows -- goes to the program:
  jupyter ollama launch claude --model qwen3:8b -- --continue"""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the program and what to do with it."""
        add = parser.add_argument
        add("program", metavar="NAME", choices=PROGRAMS, help="of a program, see below")
        add("--model", metavar="MODEL", default="", help="model to use")
        add("--config", action="store_true", help="write its configuration, start nothing")
        add("--restore", action="store_true", help="put back its files as they were")
        add("--dry-run", action="store_true", help="only show what would be written and started")
        add("-y", "--yes", action="store_true", help="write without a question")

    def parse_command_line(self, argv: Sequence[str] | None = None) -> None:
        """Split off what goes to the program, of which argparse must not read anything."""
        given = [*(sys.argv[2:] if argv is None else argv)]
        end = given.index("--") if "--" in given else len(given)
        self.passed_on = given[end + 1 :]
        super().parse_command_line(given[:end])

    def run(self, arguments: argparse.Namespace) -> None:
        """Restore, or write and start."""
        program = PROGRAMS[arguments.program]
        if arguments.restore:
            self._restore(program, arguments)
            return
        target = find_target(arguments.model)
        writes = arguments.config or program.needs_files
        edits = program.edits(target) if writes else []
        planned = [one for one in map(plan, edits) if one.changes]
        starts = not arguments.config and bool(program.commands)
        executable = program.executable() if starts and not arguments.dry_run else ""
        for one in planned:
            say(one.difference(target.token))
        if arguments.dry_run:
            self._show_start(program, target, starts)
            return
        if planned:
            confirm("Write this?", arguments.yes)
        for one in planned:
            write(one, private=bool(target.token))
            say(f"Written: {one.path}")
        if writes and not planned and edits:
            say(f"{program.title} is set up for {target.model} already.")
        if not starts:
            self._advise(program, target, edits=bool(edits))
            return
        start(executable, self._words(program, target), program.variables(target))

    def _words(self, program: Program, target: Target) -> list[str]:
        return [*program.first_arguments, *program.arguments(target), *self.passed_on]

    def _restore(self, program: Program, arguments: argparse.Namespace) -> None:
        found: list[Planned] = [one for one in map(restorable, program.paths()) if one]
        if not found:
            say(f"{program.title} has no file that was changed here.")
            return
        for one in found:
            say(one.difference())
        if arguments.dry_run:
            return
        confirm("Restore this?", arguments.yes)
        for one in found:
            say(restore(one.path))

    def _show_start(self, program: Program, target: Target, starts: bool) -> None:
        if not starts:
            return
        for name, value in program.variables(target).items():
            shown = value.replace(target.token, "…") if target.token else value
            say(f"{name}={shown}")
        words = self._words(program, target)
        say(shlex.join([program.commands[0], *words]))

    def _advise(self, program: Program, target: Target, *, edits: bool) -> None:
        if not edits:
            # Such a program has no file: these lines are its configuration.
            say(statements(program.variables(target), "sh"))
            note(f"{program.title} reads these variables when it starts.")
        if text := program.after(target):
            note(text)


def confirm(question: str, yes: bool) -> None:
    """Ask unless ``yes``. Raises CommandError if the answer is no, or there is no terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("nothing was written: there is no terminal to ask in, use --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was written")


def start(executable: str, words: list[str], variables: Mapping[str, str]) -> None:
    """Become the program; on Windows, which cannot, run it and leave with its exit status."""
    environment = {**os.environ, **variables}
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform == "win32":
        sys.exit(subprocess.run([executable, *words], env=environment, check=False).returncode)
    os.execve(executable, [executable, *words], environment)
