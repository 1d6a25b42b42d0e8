"""The parts of the benchmark on a GPU: each has a share of the time, and notes what it left out."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

import class_of_accounts
import embeddings
import random_model
import upkeep
import workloads
from bare import BareLoop
from client import Refused
from contender import ANOTHER, Contender, JupyterOllama, Setup
from library import serving
from llama_server import LlamaServer
from random_weights import DECODERS, ENCODERS
from run import Comparison, Workload
from table import LIMIT, ONE_TEXT, OURS, Samples
from workloads import Figures

from jupyter_ollama.library.library import Library

MODEL = "random"
SHARES = {"model": 0.15, "streams": 0.5, "embeddings": 0.1, "accounts": 0.2}
"""The parts and the share of the time that each may take. The rest is for ends of workloads."""

LATE = 30.0
"""Seconds after its time at which a part is stopped in the middle of a workload. They are taken
from the time for all, so that the last part ends within it."""

FAILURES = (AssertionError, OSError, Refused, RuntimeError, subprocess.SubprocessError)
"""A part that ends by these is noted; the other parts run."""

EMBEDDINGS = "embeddings in one request, texts/s"


@dataclass(frozen=True)
class Amount:
    """How much is measured. All figures of streams have one setup: the model is loaded once."""

    model: str
    encoder: str
    setup: Setup
    predict: int
    rounds: int
    streams: tuple[int, ...]
    texts: int
    account_rounds: int
    ways: Mapping[str, float]
    policies: tuple[str, ...]


class _Late(SystemExit):
    """A part is stopped. Like SystemExit, it also ends an event loop."""


def _stop(*_: object) -> None:
    raise _Late


class Benchmark:
    """The parts, and what they have found."""

    def __init__(self, amount: Amount, folder: Path, seconds: float) -> None:
        """``folder`` takes the models and logs."""
        self.amount = amount
        self.samples = Samples()
        self.noise: list[float] = []
        self.contenders: list[Contender] = []
        self.took: dict[str, float] = {}
        self._folder = folder
        self._library = Library.open(folder / "models")
        self._seconds = seconds
        self._end = 0.0
        self._model = self._encoder = folder

    def run(self, binary: Path | None, after: Callable[[], None]) -> None:
        """Run all parts, and a function after each. Without ``binary`` there is no llama-server."""
        parts: dict[str, Callable[[float], None]] = {
            "model": self._make_models,
            "streams": lambda end: self._streams(end, binary),
            "embeddings": self._embed,
            "accounts": self._accounts,
        }
        self._end = time.monotonic() + self._seconds - LATE
        for name, part in parts.items():
            start = time.monotonic()
            end = min(self._end, start + SHARES[name] * self._seconds)
            if start < end:
                print(f"{name}: at most {end - start:.0f} s", flush=True)
                try:
                    self._try(name, part, end)
                finally:
                    self.took[name] = round(time.monotonic() - start, 1)
                    after()
            else:
                self.samples.note(f"{name}: no time was left")
                after()

    def _try(self, name: str, part: Callable[[float], None], end: float) -> None:
        """Run a part until ``end``, a value of the monotonic clock; note a failure."""
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, end + LATE - time.monotonic())
        try:
            part(end)
        except _Late:
            self.samples.note(f"{name}: stopped, a workload took longer than the time for all")
        except FAILURES as error:
            self.samples.note(f"{name}: failed: {error or type(error).__name__}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _make_models(self, _: float) -> None:
        shape = DECODERS[self.amount.model]
        self._model = random_model.register(self._library, MODEL, shape)
        encoder = ENCODERS[self.amount.encoder]
        self._encoder = random_model.register(self._library, ANOTHER, encoder)

    def _streams(self, end: float, binary: Path | None) -> None:
        """Streams, a class and loads, of all contenders in turns."""
        ours = JupyterOllama(self._folder, self._library.store.root, MODEL)
        rival = [LlamaServer(self._folder, binary, self._model)] if binary else []
        try:
            self._compare(end, [ours, *rival])
        except Refused as refused:
            if not rival or self.samples.figures:
                raise
            self.samples.note(f"streams: measured without llama-server: {refused}")
            self._compare(end, [ours])

    def _compare(self, end: float, contenders: list[Contender]) -> None:
        self.contenders = contenders
        # Other processes matter little to a GPU: their share is stated, and nothing is repeated.
        comparison = Comparison(contenders, BareLoop(self._model), most_noise=inf)
        comparison.samples, comparison.noise = self.samples, self.noise
        chosen = [*stream_workloads(self.amount)]
        rounds = self.amount.rounds
        asyncio.run(comparison.run(chosen, rounds, lambda: time.monotonic() >= end))

    def _embed(self, end: float) -> None:
        """One request with all texts, beside batches of one text and large ones."""
        count = self.amount.texts
        with ExitStack() as stack:
            bare = [
                embeddings.Child(sys.executable, kind, self._encoder, self._folder)
                for kind in (embeddings.LARGE, ONE_TEXT)
            ]
            for child in bare:
                stack.callback(child.close)
            url = stack.enter_context(serving(self._library.store.root))
            post = partial(embeddings.post, port=int(url.rpartition(":")[2]))
            ways = {OURS: embeddings.timed(post), LIMIT: bare[0], ONE_TEXT: bare[1]}
            for way in ways.values():
                way(64)
            for turn in range(self.amount.rounds):
                if time.monotonic() >= end:
                    skipped = f"{turn} of {self.amount.rounds} rounds, the time was up"
                    self.samples.note(f"embeddings: {skipped}")
                    break
                vectors = {}
                for name, way in ways.items():
                    seconds, vectors[name] = way(count)
                    self.samples.add(name, turn, {f"{count:,} {EMBEDDINGS}": count / seconds})
                closest = (vectors[OURS] * vectors[LIMIT]).sum(axis=1).min()
                if not closest > 0.99:
                    self.samples.note(f"embeddings: a cosine to the bare loop is {closest:.3f}")

    def _accounts(self, end: float) -> None:
        """A class of accounts under three policies of sharing prefixes."""

        async def measure() -> dict[str, dict[str, list[class_of_accounts.Seen]]]:
            async with asyncio.timeout(end - time.monotonic()):
                return await class_of_accounts.measure(
                    str(self._library.store.root),
                    MODEL,
                    self.amount.ways,
                    self.amount.policies,
                    self.amount.account_rounds,
                    self.amount.predict,
                )

        for way, by_policy in asyncio.run(measure()).items():
            for policy, classes in by_policy.items():
                what = f"16 accounts {way}, prefixes shared: {policy}"
                for turn, seen in enumerate(classes):
                    figures = {
                        f"{what}: total time, s": seen.total,
                        f"{what}: median TTFT, ms": seen.first * 1e3,
                        f"{what}: prompts computed, tokens": seen.computed,
                    }
                    self.samples.add(OURS, turn, figures)


def stream_workloads(amount: Amount) -> Iterator[Workload]:
    """Yield the workloads that all contenders share."""
    predict, setup = amount.predict, amount.setup

    def streams(count: int) -> Workload:
        return Workload(
            f"{count} streams",
            lambda one, tag: workloads.streams(one, tag, count, predict),
            lambda bare, tag: bare.streams(tag, count, predict),
            setup,
        )

    yield Workload("placement", placed, None, setup, (LlamaServer.name,))
    yield from map(streams, amount.streams)
    yield Workload("class", lambda one, tag: workloads.classroom(one, tag, predict), setup=setup)
    yield Workload("load", lambda one, _: upkeep.load(one), setup=setup, asleep=True)


async def placed(one: Contender, _: str) -> Figures:
    """Return the part of the model on GPUs: with less than all, no figure says much."""
    assert isinstance(one, JupyterOllama)
    return {"the model on GPUs, %": one.share_on_gpus()}
