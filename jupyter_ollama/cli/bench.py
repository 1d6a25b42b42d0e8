"""`jupyter ollama bench`: how fast a model runs here, how fast it could, and in which format."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..config import OllamaServer
from ..errors import OllamaError
from ..library.name import InvalidName
from .bench_report import Measured, WeightFormat, report, text
from .command import Command, CommandError, note, say
from .other_formats import candidates, write
from .speed import Workload, limit, serve

if TYPE_CHECKING:
    from ..library.model import Model

T = TypeVar("T")

COMPARED_UP_TO = 10**9
"""The largest file, in bytes, that is compared with other formats by default."""


class BenchCommand(Command):
    """jupyter ollama bench"""

    name = "jupyter-ollama-bench"
    verb = "bench"
    description = (
        "Measure how fast a model of the store (OLLAMA_MODELS) runs on this machine, in a runner\n"
        "of its own and, for the limit, in the barest loop over llama.cpp. Needs no server; one\n"
        "that is busy at the same time spoils the figures."
    )
    epilog = (
        "On a CPU a quantized model of up to 1 GB is written in other formats, too, into a\n"
        "temporary folder, to see if one of them is faster here. --compare does that with larger\n"
        "ones; each takes up to twice the disk space of the model, and the time to write it."
    )
    classes = [OllamaServer]

    def _log_level_default(self) -> int:
        return logging.WARNING

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take a name and the measurements."""
        add = parser.add_argument
        add("model", metavar="MODEL")
        add("--streams", metavar="N,N", type=numbers, default=[1, 8, 16], help="default: 1,8,16")
        add("--tokens", metavar="N", type=number, default=64, help="each generates, default: 64")
        add("--prompt", metavar="N", type=number, default=512, help="all read, default: 512")
        add("--rounds", metavar="N", type=number, default=3, help="the median counts, default: 3")
        add("--compare", action=argparse.BooleanOptionalAction, help="try other formats, or not")
        add("--json", action="store_true", help="print the figures as JSON")

    def run(self, arguments: argparse.Namespace) -> None:
        """Measure, then print."""
        # The default action would leave the files in the temporary folder.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        workload = Workload(tuple(arguments.streams), arguments.tokens, arguments.prompt)
        try:
            model = self.find(arguments.model)
            measured = self.measure(model, workload, arguments.rounds, arguments.compare)
        except OllamaError as error:
            raise CommandError(error.message) from error
        facts = report(measured)
        say(json.dumps(facts, indent=2) if arguments.json else text(facts))

    def find(self, name: str) -> Model:
        """Return a model that can generate. Raises CommandError or OllamaError."""
        try:
            model = OllamaServer(parent=self).library.find(name)
        except InvalidName:
            raise CommandError("invalid model name") from None
        if "completion" not in model.capabilities:
            raise CommandError(f'"{name}" does not support generate')
        return model

    def measure(
        self, model: Model, workload: Workload, rounds: int, compare: bool | None
    ) -> Measured:
        """Let runner, bare loop and other formats take turns, since the speed of a host drifts."""
        path = model.model_path
        measured = Measured(
            model.name.display, model.header.file_type, path.stat().st_size, workload
        )
        with tempfile.TemporaryDirectory(prefix="jupyter-ollama-bench-") as folder:
            for turn in range(1, rounds + 1):
                with announced(f"round {turn} of {rounds}: server"):
                    key = str(time.time_ns())
                    work = serve(OllamaServer(parent=self), model, workload, key)
                    served = asyncio.run(cancelled_by_sigterm(work))
                    measured.served.append(served)
                    note(", limit", end="")
                    workload = replace(workload, streams=tuple(served.speeds))
                    measured.limits.append(limit(served.spec, path, workload))
                    if turn == 1 and wants_comparison(measured, compare):
                        measured.formats = list(write_formats(measured, path, Path(folder)))
                    one = replace(workload, streams=workload.streams[:1])
                    for each in measured.formats:
                        note(f", {each.name}", end="")
                        each.speeds += limit(served.spec, each.path, one).values()
        return measured


async def cancelled_by_sigterm(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``; SIGTERM cancels it, so that it cleans up. Raises KeyboardInterrupt then.

    An exception that a signal handler raises leaves the event loop at an arbitrary point, and the
    cleanup may then wait without end.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Show a line that grows while the block runs, and how long that took."""
    start = time.monotonic()
    note(what, end="")
    try:
        yield
        note(f" ({time.monotonic() - start:.0f} s)", end="")
    finally:
        note("")


def wants_comparison(measured: Measured, asked: bool | None) -> bool:
    """Return whether to try other formats: not for GPUs, where they are no faster."""
    if measured.on_gpu:
        return False
    return measured.size <= COMPARED_UP_TO if asked is None else asked


def write_formats(measured: Measured, path: Path, folder: Path) -> Iterator[WeightFormat]:
    """Yield the model's own format and those to compare it with, each written into ``folder``."""
    names = candidates(measured.format)
    if names:
        yield WeightFormat(measured.format, path, measured.size)
    for name in names:
        note(f", writing {name}", end="")
        try:
            written = write(path, name, folder)
        except OllamaError as error:
            note(f" failed: {error.message}", end="")
        else:
            yield WeightFormat(name, written, written.stat().st_size)


def number(text: str) -> int:
    """Read a whole number above zero."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def numbers(text: str) -> list[int]:
    """Read whole numbers above zero with commas between them, and put them in order."""
    return sorted({number(part) for part in text.split(",")})
