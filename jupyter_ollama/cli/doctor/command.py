"""The command: runs the checks and prints their findings as lines or as JSON."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator

import msgspec

from ..._version import __version__
from ...config import OllamaServer
from ..command import Command, say
from . import jupyter, llama_cpp, network, software, store
from .finding import Finding, Level

MARKS = {Level.OK: ("✓", 32), Level.NOTE: ("•", 33), Level.ERROR: ("✗", 31)}
"""The sign of a level and its colour, a parameter of ANSI's SGR."""

WIDTH = 18
"""Columns of the names of checks."""


class DoctorCommand(Command):
    """jupyter ollama doctor"""

    name = "jupyter-ollama-doctor"
    verb = "doctor"
    description = (
        "Check the installation: versions, llama.cpp and its devices, the folder of the models,\n"
        "the extensions of Jupyter, the magics of each kernel, the port and proxies. Changes\n"
        "nothing. The exit status is 1 if anything does not work."
    )
    epilog = """\
--json prints an object: "version", "ok", and "findings", a list of objects with "check", "level"
(ok, note or error), "text" and, where there is something to do, "advice"."""
    classes = [OllamaServer]

    def _log_level_default(self) -> int:
        return logging.WARNING

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the form of the output."""
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def run(self, arguments: argparse.Namespace) -> None:
        """Run all checks and exit with 1 if one of them found an error."""
        findings = []
        for finding in self.findings():
            findings.append(finding)
            if not arguments.json:
                show(finding)
        is_well = all(finding.level is not Level.ERROR for finding in findings)
        if arguments.json:
            report = {"version": __version__, "ok": is_well, "findings": findings}
            say(msgspec.json.format(msgspec.json.encode(report)).decode())
        else:
            say(verdict(findings))
        if not is_well:
            sys.exit(1)

    def findings(self) -> Iterator[Finding]:
        """Yield the findings of all checks, each as soon as it is known."""
        server = OllamaServer(parent=self)
        yield from software.findings()
        yield from llama_cpp.findings(server.backend_folders)
        yield from store.findings(server)
        yield from jupyter.findings()
        yield from network.findings()


def show(finding: Finding) -> None:
    """Print a finding and its advice."""
    mark, colour = MARKS[finding.level]
    if sys.stdout.isatty():
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    say(f"{mark} {finding.check:<{WIDTH}} {finding.text}")
    for line in finding.advice.splitlines():
        say(f"  {'':<{WIDTH}} → {line}")


def verdict(findings: list[Finding]) -> str:
    """Return the last line of the output."""
    faults = sum(finding.level is Level.ERROR for finding in findings)
    if not faults:
        return "No faults found."
    return f"{faults} {'fault' if faults == 1 else 'faults'} found."
