"""The report of a run: the machine, the versions, the settings, the table."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil
from backend import gpus
from contender import Contender
from other_server import OtherServer
from table import LIMIT, Samples

MODELS = {
    "smollm2": "SmolLM2-135M-Instruct, Q4_0, 49,152 words",
    "gemma3": "Gemma 3 270M, Q4_K_M, 262,144 words",
}
PRIVATE = ("PYTHONPATH", "OLLAMA_MODELS", "OLLAMA_HOST")


def processor() -> str:
    """Return the name of the processor."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"model name\s*:\s*(.+)", information.read_text(errors="replace"))
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Return the processor and the devices, in a line."""
    devices = [gpu["description"] for gpu in gpus()]
    memory = psutil.virtual_memory().total / 2**30
    parts = [processor(), f"{psutil.cpu_count()} cores", f"{memory:.0f} GiB", *devices]
    return ", ".join([*parts, platform.system()])


def settings(contender: Contender) -> str:
    """Return the variables and the command line of a contender, without the paths of this host.

    Of a server that ran already they are unknown.
    """
    if isinstance(contender, OtherServer):
        return contender.settings()
    set_by_us = contender.variables().items()
    words = [f"{name}={value}" for name, value in set_by_us if name not in PRIVATE]
    for word in contender.command(0):
        name = Path(word).name if "/" in word else word
        words.append("MODEL" if name.startswith("sha256-") else name)
    return shlex.join(words)


def report(
    samples: Samples,
    noise: Sequence[float],
    contenders: Sequence[Contender],
    title: str,
    rounds: int,
    others: Sequence[str] = (LIMIT,),
) -> Iterator[str]:
    """Yield the lines of the whole text in Markdown.

    ``noise`` has the share of other work; ``others`` are columns beside the servers'.
    """
    yield f"# {title}\n"
    yield f"- {date.today().isoformat()}, {machine()}"
    yield f"- llama-cpp-python {version('llama-cpp-python')} and the llama.cpp in it,"
    yield f"  jupyter-ollama {version('jupyter-ollama')}, Python {platform.python_version()}"
    yield f"- `python {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}`"
    if noise:
        most = f"{max(noise):.0f} % at most"
        yield f"- others took {median(noise):.0f} % of the processor meanwhile (median), {most}"
    yield f"\nMedian of {rounds} rounds (least to most). In the columns on the right more than 1"
    yield "means that jupyter_ollama is better; ratios are taken within a round.\n"
    ran_already = [one.name for one in contenders if isinstance(one, OtherServer)]
    yield from samples.table([*(one.name for one in contenders), *others], ran_already)
    if samples.notes:
        yield "\nNot measured:\n"
        yield from (f"- {note}" for note in samples.notes)
    yield "\nHow they were started last:\n"
    yield from (f"    {settings(one)}" for one in contenders)
