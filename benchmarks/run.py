"""Compare jupyter_ollama with llama-server, llama-cpp-python's server and a bare loop.

    python benchmarks/run.py --model smollm2

Contenders answer the same requests with the same files, in turns; only one computes at a time. The
table has medians over rounds; ratios are taken within a round, since speed drifts on shared hosts.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count, product
from math import inf
from pathlib import Path

import psutil
import ratchet
import upkeep
import workloads
from bare import BareLoop
from client import Refused
from contender import ANOTHER, Contender, JupyterOllama, Setup
from llama_cpp_python_server import LlamaCppPythonServer, server_packages
from llama_server import Failure, LlamaServer, OtherLlamaServer, llama_server
from noise import Noise
from other_server import OtherServer
from report import MODELS, processor, report
from table import Samples
from workloads import WAKING, EndedEarly, Figures

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

NORMAL = Setup()
WIDE = Setup(num_ctx=512, parallel=32)
LONG = Setup(num_ctx=8192)
ATTEMPTS, PATIENCE = 5, 300

Ask = Callable[[Contender, str], Awaitable[Figures]]
Limit = Callable[[BareLoop, str], Figures]
ONE_AT_A_TIME = LlamaCppPythonServer.name


@dataclass(frozen=True)
class Workload:
    """A workload with its setup. ``without`` are contenders that it does not apply to."""

    name: str
    ask: Ask
    limit: Limit | None = None
    setup: Setup = NORMAL
    without: tuple[str, ...] = ()
    at_once: bool = False
    """All contenders at the same time, for figures that need no computing."""
    asleep: bool = False
    """Contenders compute nothing right before."""


def streams(number: int, setup: Setup = NORMAL) -> Workload:
    """Return the workload of some streams at once."""
    return Workload(
        "wide" if setup is WIDE else "streams",
        lambda one, tag: workloads.streams(one, tag, number),
        lambda bare, tag: bare.streams(tag, number),
        setup,
        (ONE_AT_A_TIME,) if setup is WIDE else (),
    )


def all_workloads(quick: bool) -> list[Workload]:
    """Return the workloads in the order they run."""
    rows, turns = (32, 6) if quick else (256, 20)
    return [
        *(streams(number) for number in (1, 4, 8, 16)),
        Workload("conversation", lambda one, tag: workloads.conversation(one, tag, turns)),
        Workload("classroom", workloads.classroom),
        Workload("labelling", lambda one, tag: workloads.labelling(one, tag, rows)),
        Workload("schema", workloads.constrained, without=(ONE_AT_A_TIME,)),
        Workload("first-token", workloads.first_token, lambda bare, _: bare.first_token()),
        Workload("memory", lambda one, _: upkeep.memory(one)),
        Workload(
            "idle", lambda one, _: upkeep.idle(one, 5 if quick else 20), at_once=True, asleep=True
        ),
        Workload("load", lambda one, _: upkeep.load(one), asleep=True),
        streams(32, WIDE),
        Workload("long-prompt", workloads.interference, None, LONG, (ONE_AT_A_TIME,)),
    ]


class Comparison:
    """Contenders and their figures."""

    def __init__(self, contenders: Sequence[Contender], bare: BareLoop, most_noise: float) -> None:
        """Measurements with more than ``most_noise`` percent of other work are repeated.

        If it is infinite, a measurement waits for no other work either. So it is where the work of
        a contender cannot be distinguished from other work.
        """
        self.contenders = contenders
        self.bare = bare
        self.samples = Samples()
        self.noise: list[float] = []
        invisible = [one.name for one in contenders if not one.is_visible]
        self._most_noise = inf if invisible else most_noise
        for name in invisible:
            self.samples.note(
                f"noise: the processes of {name} were not found on this host: its work counts as "
                "other work, and no measurement was repeated for that"
            )
        self._calls = count()

    async def run(
        self, chosen: Sequence[Workload], rounds: int, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        """Run all rounds of every workload; the workloads of one setup run together.

        None begins after ``is_over``, and a note names the rounds that were left out.
        """
        for setup in dict.fromkeys(workload.setup for workload in chosen):
            these = [workload for workload in chosen if workload.setup == setup]
            try:
                await self._start(setup, these)
                for turn, workload in product(range(rounds), these):
                    if is_over():
                        self._note_skipped(these, rounds, turn, workload)
                        break
                    print(f"round {turn + 1}: {workload.name}", flush=True)
                    await self._try(workload, turn)
            finally:
                self.bare.stop()
                for one in self.contenders:
                    one.stop()

    def _note_skipped(
        self, these: Sequence[Workload], rounds: int, turn: int, first: Workload
    ) -> None:
        for number, workload in enumerate(these):
            run = turn + (number < these.index(first))
            self.samples.note(f"{workload.name}: {run} of {rounds} rounds, the time was up")

    def _processes(self) -> list[psutil.Process]:
        alive = [one for one in self.contenders if one.is_alive]
        return [*self.bare.processes(), *(process for one in alive for process in one.processes())]

    async def _start(self, setup: Setup, these: Sequence[Workload]) -> None:
        if any(workload.limit for workload in these):
            self.bare.start(setup)
        for one in self.contenders:
            if any(one.name not in workload.without for workload in these):
                await one.start(setup)

    async def _try(self, workload: Workload, turn: int) -> None:
        """Let all run a workload; again, with new prompts, if one cannot be compared."""
        for attempt in range(ATTEMPTS):
            await self._quiet()
            try:
                with Noise(self._processes) as noise:
                    reached = await self._everyone(workload, turn, f"{next(self._calls)}.{turn}")
            except EndedEarly as early:
                self.samples.note(f"{workload.name}: taken again, a model ended early: {early}")
                continue
            if noise.share > self._most_noise and attempt < ATTEMPTS - 1:
                print(f"  again, others took {noise.share:.0f} % of the processor", flush=True)
                continue
            self.noise.append(noise.share)
            for who, figures in reached.items():
                self.samples.add(who, turn, figures)
            return

    async def _quiet(self) -> None:
        """Wait until no other work uses the processor, at most PATIENCE seconds."""
        if self._most_noise == inf:
            return
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with Noise(self._processes) as noise:
                await asyncio.sleep(0.5)
            if noise.share <= self._most_noise:
                return

    async def _everyone(self, workload: Workload, turn: int, tag: str) -> dict[str, Figures]:
        """Return the figures of all, asked in another order each round."""
        taking_part = [one for one in self.contenders if one.name not in workload.without]
        if workload.at_once:
            asked = await asyncio.gather(*(self._ask(workload, one, tag) for one in taking_part))
            return {one.name: got for one, got in zip(taking_part, asked, strict=True)}
        everyone: list[Contender | BareLoop] = [*taking_part]
        if workload.limit:
            everyone.append(self.bare)
        first = turn % max(len(everyone), 1)
        reached = {}
        for one in [*everyone[first:], *everyone[:first]]:
            if isinstance(one, BareLoop):
                one.wake()
                assert workload.limit
                reached[one.name] = workload.limit(one, tag)
            else:
                reached[one.name] = await self._ask(workload, one, tag)
        return reached

    async def _ask(self, workload: Workload, one: Contender, tag: str) -> Figures:
        try:
            if not one.is_alive:
                await one.start(workload.setup)
            if not workload.asleep:
                # The first to compute after a pause finds a host whose cores are in a sleep state.
                await one.complete(WAKING, 8)
            return await workload.ask(one, tag)
        except EndedEarly:
            if not one.ends_answers:
                raise
            # Other prompts would be ended as well, and the others answer these.
            self.samples.note(f"{workload.name}: {one.name} ended an answer early")
        except Refused as refused:
            self.samples.note(f"{workload.name}: {one.name}: {refused}")
        return {}


def contenders(arguments: argparse.Namespace, folder: Path) -> tuple[list[Contender], BareLoop]:
    """Return the contenders, with their models in a store below ``folder``.

    Raises Failure, first of all if --other-url names no server with Ollama's API.
    """
    url = arguments.other_url
    others = [OtherServer(folder, url, arguments.model)] if url else []
    import starter_models

    from jupyter_ollama.library.library import Library
    from jupyter_ollama.library.store import Store

    library = Library(Store(folder / "models"))
    for name in (arguments.model, ANOTHER):
        starter_models.register(name, library)
    model = library.find(arguments.model).model_path
    binary = llama_server()
    everyone: list[Contender] = [
        JupyterOllama(folder, folder / "models", arguments.model),
        LlamaServer(folder, binary, model),
        LlamaCppPythonServer(folder, server_packages(), model),
    ]
    if arguments.other_flags is not None:
        words = shlex.split(arguments.other_flags)
        everyone.append(OtherLlamaServer(folder, binary, model, words))
    everyone.extend(others)
    wanted = [one for one in everyone if one.name not in arguments.without]
    for other in others:
        if other in wanted:
            other.upload(model)
    return wanted, BareLoop(model)


def names_of_workloads() -> list[str]:
    """Return the values of --only."""
    return list(dict.fromkeys(workload.name for workload in all_workloads(False)))


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    names = names_of_workloads()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=("smollm2", "gemma3"), default="smollm2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WORKLOAD")
    parser.add_argument("--without", nargs="+", default=[], metavar="CONTENDER")
    parser.add_argument("--quick", action="store_true", help="one round of less work, not kept")
    parser.add_argument("--other-flags", metavar="FLAGS", help="llama-server with these as well")
    parser.add_argument("--other-url", metavar="URL", help="a running server with Ollama's API too")
    parser.add_argument("--noise", type=float, default=10, help="percent others may take (10)")
    parser.add_argument("--machine", help="its name in that of the file of results")
    parser.add_argument("--ratchet", action="store_true", help="fail below ratchet.json")
    parser.epilog = f"Workloads: {', '.join(names)}"
    return parser.parse_args(words)


def is_whole(arguments: argparse.Namespace) -> bool:
    """True if nothing was left out or added."""
    added = arguments.other_flags is not None or arguments.other_url is not None
    partial = arguments.quick or arguments.without or added
    return not partial and arguments.only == names_of_workloads()


def main() -> None:
    """Run and print the table; save it after a whole run."""
    arguments = parse()
    # Otherwise the servers would outlive this process after SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped"))
    rounds = 1 if arguments.quick else arguments.rounds
    chosen = [one for one in all_workloads(arguments.quick) if one.name in arguments.only]
    with tempfile.TemporaryDirectory() as folder:
        try:
            everyone, bare = contenders(arguments, Path(folder))
            comparison = Comparison(everyone, bare, arguments.noise)
            asyncio.run(comparison.run(chosen, rounds))
        except (Failure, Refused) as failure:
            sys.exit(f"Error: {failure}")
    comparison.samples.derive()
    title = MODELS[arguments.model]
    lines = report(comparison.samples, comparison.noise, everyone, title, rounds)
    text = "\n".join(lines) + "\n"
    print(f"\n{text}")
    if is_whole(arguments):
        where = re.sub(r"\W+", "-", arguments.machine or processor()).strip("-").lower()
        file = HERE / "results" / f"{date.today().isoformat()}-{where}-{arguments.model}.md"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(f"Kept as {file}")
    if arguments.ratchet and (slips := ratchet.slips(arguments.model, comparison.samples)):
        sys.exit("\n".join(["Error: below benchmarks/ratchet.json:", *slips]))


if __name__ == "__main__":
    main()
