"""Running a heavy step in a child process, so that a crash or its memory spares the server."""

from __future__ import annotations

import logging
import os
import runpy
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable

from ..child_environment import child_environment
from ..errors import OllamaError
from .disk_errors import disk_error_of, explained

log = logging.getLogger(__name__)

UNSUITABLE = 3
"""The exit status of a child that cannot use its input; its last line gives the reason."""


def run(module: str, *arguments: str) -> Generator[str, None, None]:
    """Run a module as ``python -m`` does, yielding the lines of its standard error.

    Closing the generator kills the child, and so does the end of this process.
    Raises OllamaError(400) for an unsuitable input, OllamaError(500) with the last line otherwise;
    the log receives the lines before it.
    """
    # -P: a folder of notebooks must not shadow modules.
    command = [sys.executable, "-P", "-m", __name__, module, *arguments]
    last: deque[str] = deque(maxlen=8)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=child_environment(),
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stderr
        try:
            for line in process.stderr:
                last.append(line.strip())
                yield line
            code = process.wait()
        finally:
            process.kill()
    if code == UNSUITABLE and last:
        raise OllamaError(400, last[-1])
    if code:
        name = module.rpartition(".")[2]
        spoken = list(filter(None, last))
        log.error("%s ended with status %d: %s", name, code, "\n".join(last))
        if error := disk_error_of("\n".join(last)):
            raise explained(error, f"the output of {name}")
        raise OllamaError(500, f"{name} failed: {spoken[-1] if spoken else f'exit status {code}'}")


def last_output(lines: Iterable[str]) -> str:
    """Return the last output of a process; of a traceback only the error itself."""
    lines = [line for line in lines if line.strip()]
    if any(line.lstrip().startswith(("Traceback (most recent", 'File "')) for line in lines):
        return lines[-1]
    return "\n".join(lines)


def _end_with_parent() -> None:
    # Only the parent holds the other end of the pipe on standard input.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
