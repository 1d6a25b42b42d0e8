"""Running a heavy step in a process of its own, so that the server stays small and alive."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator

from ..errors import OllamaError

UNSUITABLE = 3
"""The exit status of a child that cannot use its input; its last line tells why."""


def run(module: str, *arguments: str) -> Generator[str, None, None]:
    """Run a module as ``python -m`` does, yielding the lines of its standard error.

    Closing the generator kills the child, and so does the end of this process.
    Raises OllamaError(400) for an unsuitable input, OllamaError(500) with the last lines otherwise.
    """
    # -P: a folder of notebooks must not shadow modules.
    command = [sys.executable, "-P", "-m", __name__, module, *arguments]
    last: deque[str] = deque(maxlen=8)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
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
        tail = "\n".join(filter(None, last)) or f"exit status {code}"
        raise OllamaError(500, f"{module.rpartition('.')[2]} failed: {tail}")


def _end_with_parent() -> None:
    # Standard input is a pipe whose other end only the parent has.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
