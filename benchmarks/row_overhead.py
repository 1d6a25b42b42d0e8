"""What the accessor costs beyond the engine: 1,000 rows of classify, in turns with a runner alone.

    python benchmarks/row_overhead.py [--rows 1000] [--rounds 5]

Both get the same rows, new ones in every round, and hold a model of their own, so that no cache
knows them. The order alternates. Prints a table in Markdown and the overhead: the median of the
rounds with the least and the most, by the clock and by the processor time of all processes. Other
work on the machine changes the first, and hardly the second; its share is stated.

- The accessor: `rows.ollama.classify` through HTTP, the server and its runner.
- The engine alone: a runner is given the same prompts, 16 at a time, as in `rows.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import jupyter_ollama_magics.accessor  # noqa: F401 - adds .ollama
import pandas as pd
import psutil
from library import serving
from noise import Noise
from rows import CHAT, EMBED, LABELS, Way, engines, texts

from jupyter_ollama.library.library import Library

LIMIT = 0.07
"""The overhead that is wanted, by the clock on a machine without other work."""

PARTS = ("client", "server", "runner")


@dataclass(frozen=True)
class Cost:
    """A turn: its seconds, the processor seconds by part, and the share of other work."""

    seconds: float
    processor: dict[str, float]
    noise: float

    @property
    def whole(self) -> float:
        """The processor seconds of all processes."""
        return sum(self.processor.values())


def main() -> None:
    """Serve the model, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
        import starter_models

        library = Library.open(Path(folder, "models"))
        for name in (CHAT, EMBED):
            starter_models.register(name, library)
        with serving(library.store.root) as url, engines(library) as engine:
            os.environ["JUPYTER_OLLAMA_URL"] = url
            ways: list[Way] = [
                lambda rows: rows.ollama.classify(LABELS, model=CHAT),
                engine[CHAT],
            ]
            measure(ways, arguments.rows, arguments.rounds)


def measure(ways: list[Way], count: int, rounds: int) -> None:
    """Let both take turns, and print each round and the overhead."""
    for way in ways:
        way(texts(16, seed=-1))  # the model is loaded
    print("| round | accessor, rows/s | engine, rows/s | CPU ms a row | engine's | other work |")
    print("|---|---|---|---|---|---|")
    pairs: list[tuple[Cost, Cost]] = []
    for turn in range(rounds):
        rows = texts(count, seed=turn)
        order = [0, 1] if turn % 2 == 0 else [1, 0]
        costs = {which: cost(ways[which], rows) for which in order}
        ours, alone = costs[0], costs[1]
        pairs.append((ours, alone))
        figures = [
            f"{count / ours.seconds:.1f}",
            f"{count / alone.seconds:.1f}",
            f"{ours.whole / count * 1e3:.2f}",
            f"{alone.whole / count * 1e3:.2f}",
            f"{ours.noise:.0f} %, {alone.noise:.0f} %",
        ]
        print(f"| {turn + 1} | {' | '.join(figures)} |", flush=True)
    report("by the clock", [ours.seconds / alone.seconds for ours, alone in pairs])
    report("by processor time", [ours.whole / alone.whole for ours, alone in pairs])
    for name in pairs[0][0].processor:
        share = median(ours.processor[name] for ours, _ in pairs) / count * 1e3
        print(f"- {name}: {share:.2f} ms of processor time a row")


def report(title: str, ratios: list[float]) -> None:
    """Print an overhead."""
    shares = [f"{ratio - 1:.1%}" for ratio in (median(ratios), min(ratios), max(ratios))]
    print(f"- overhead {title}: {shares[0]} ({shares[1]} to {shares[2]}), wanted {LIMIT:.0%}")


def cost(way: Way, rows: pd.Series) -> Cost:
    """Return the cost of one turn."""
    with Noise(lambda: psutil.Process().children(recursive=True)) as noise:
        before, began = processor_times(), time.perf_counter()
        way(rows)
        seconds, after = time.perf_counter() - began, processor_times()
    used = dict.fromkeys(PARTS, 0.0)
    for process, spent in after.items():  # a process that has ended meanwhile is left out
        used[process[1]] += spent - before.get(process, 0.0)
    return Cost(seconds, used, noise.share)


def processor_times() -> dict[tuple[int, str], float]:
    """Return the processor seconds so far of each process, by its number and its part."""
    found: dict[tuple[int, str], float] = {}
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        serves = "serve" in process.cmdline()
        part = "client" if process.pid == own.pid else "server" if serves else "runner"
        times = process.cpu_times()
        found[process.pid, part] = times.user + times.system
    return found


if __name__ == "__main__":
    main()
