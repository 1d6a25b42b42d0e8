"""The bare loop in a process of its own: the upper limit of each figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import prompts
import psutil
from client import Refused
from contender import Setup
from workloads import FIRST_TOKEN, PREDICT, WAKING, EndedEarly, Figures, generating

from jupyter_ollama.engine.devices import physical_threads
from jupyter_ollama.engine.runner_process import ENVIRONMENT


class BareLoop:
    """Runs limit.py; its figures have the names of the workloads' figures."""

    name = "bare loop"

    def __init__(self, model: Path) -> None:
        self._model = model
        self._process: subprocess.Popen[str] | None = None

    def start(self, setup: Setup) -> None:
        """Load the model."""
        numbers = (setup.slots, setup.cells, physical_threads())
        script = Path(__file__).with_name("limit.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(self._model), *map(str, numbers)],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._next_line()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def processes(self) -> list[psutil.Process]:
        """Return the process, if there is one."""
        return [psutil.Process(self._process.pid)] if self._process else []

    def _next_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        raise Refused("the bare loop has ended")

    def _run(self, texts: list[str], predict: int) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompts": texts, "predict": predict}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._next_line())
        return answer

    def streams(self, tag: str, count: int, predict: int = PREDICT) -> Figures:
        """Do as `workloads.streams` does. Raises EndedEarly for the same reason."""
        texts = prompts.stories(tag, count)
        times = self._run(texts, predict)
        for text, tokens in zip(texts, times["before_end"], strict=True):
            if tokens < predict:
                raise EndedEarly(text)
        total = times["prefill"] + times["decode"]
        return {
            f"{count} streams: from request to end, tokens/s": count * predict / total,
            f"{count} streams: median TTFT, ms": times["prefill"] * 1e3,
            generating(count): count * (predict - 1) / times["decode"],
        }

    def wake(self) -> None:
        """Compute a little, unmeasured."""
        self._run([WAKING], 8)

    def first_token(self, times: int = 20) -> Figures:
        """Do as `workloads.first_token` does: the one step that every server needs."""
        steps = [self._run(["Once"], 1)["prefill"] for _ in range(times)]
        return {FIRST_TOKEN: median(steps) * 1e3}
