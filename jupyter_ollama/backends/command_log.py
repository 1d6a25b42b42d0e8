"""Run long commands with their output in a log and one line of progress on the terminal."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


class Failure(Exception):
    """An error that the user has to fix; only its text is shown."""


def say(text: str = "") -> None:
    """Print a line now, also where the output is a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_in_place(text: str) -> None:
    """Replace the current line of the terminal."""
    width = shutil.get_terminal_size().columns - 1
    sys.stdout.write("\r\x1b[2K" + text[:width])
    sys.stdout.flush()


def run_quietly(command: list[str]) -> bool:
    """Run a command without showing its output and return whether it succeeded."""
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def run_logged(
    command: list[str],
    log: Path,
    progress: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a command with its output in ``log``, pass each line to ``progress``; its exit status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            progress(line)
    if sys.stdout.isatty():
        show_in_place("")
    return process.returncode


def last_lines(log: Path, count: int = 30) -> str:
    """Return the end of a log, each line cut to a readable length."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    return "\n".join(f"  | {line[:160]}" for line in lines)
