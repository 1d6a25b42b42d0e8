"""`jupyter ollama check`: whether the files of the models are whole, and mending them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from jupyter_ollama_client.readable import size

from ..config import OllamaServer
from ..errors import OllamaError
from ..library.check import Fault, Leftovers, Needs, faults, set_aside, size_of, tidy
from ..library.name import InvalidName, ModelName
from ..library.store import Store
from .command import Command, CommandError, say
from .progress import ProgressLines
from .transfer import LayerBars


class CheckCommand(Command):
    """jupyter ollama check"""

    name = "jupyter-ollama-check"
    verb = "check"
    description = (
        "Read all files of the store (OLLAMA_MODELS), or those of some models, and report the\n"
        "missing and damaged ones. Needs no server. The exit status is 1 if anything is wrong."
    )
    epilog = (
        "--repair moves damaged files aside and gets what is missing from the registries of the\n"
        "models that need it. It removes what work of ours that was cut off has left. Files that\n"
        "other programs wrote, such as an Ollama that shares the folder, stay; only partial\n"
        "downloads that are a week old are removed."
    )
    classes = [OllamaServer]

    def _log_level_default(self) -> int:
        return logging.WARNING

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take names, and whether to mend."""
        parser.add_argument("models", metavar="MODEL", nargs="*")
        parser.add_argument(
            "--repair", action="store_true", help="repair damaged and missing files"
        )

    def run(self, arguments: argparse.Namespace) -> None:
        """Check, repair and report."""
        server = OllamaServer(parent=self)
        store = Store(Path(server.models_dir).expanduser())
        needs = Needs(store, named(store, arguments.models))
        found = list(checked(store, needs))
        left = [fault for fault in found if not (arguments.repair and mended(server, store, fault))]
        for name, reason in needs.unreadable.items():
            say(f"the manifest of {name.display} cannot be read: {reason}")
        if not arguments.models:
            report_leftovers(store, arguments.repair)
        if left or needs.unreadable:
            raise CommandError(verdict(left, needs, arguments.repair))
        say(f"{needs.models} models with {len(needs.blobs)} files ({size(needs.size)}) are whole")


def named(store: Store, texts: Iterable[str]) -> list[ModelName]:
    """Return the models to check, all of them if none is named. Raises CommandError."""
    found = []
    for text in texts:
        try:
            name = store.resolve(ModelName.parse(text))
        except InvalidName:
            name = None
        if name is None:
            raise CommandError(f"model '{text}' not found")
        found.append(name)
    return found if texts else store.names()


def checked(store: Store, needs: Needs) -> Iterator[Fault]:
    """Yield the faults, showing the progress of the reading."""
    progress, done = ProgressLines(), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress.show({"status": "reading", "completed": done, "total": max(needs.size, done)})

    for fault in faults(store, needs, advance):
        progress.close()
        say(f"{title(fault)} {fault.reason}; needed by {models(fault)}")
        yield fault
    progress.close()


def mended(server: OllamaServer, store: Store, fault: Fault) -> bool:
    """Move a damaged blob aside and download it again; return whether that succeeded."""
    if fault.seen:
        set_aside(store, fault)
    bars = LayerBars()
    for name in sources(fault):
        try:
            asyncio.run(fetch(server, name, fault, bars))
        except OllamaError as error:
            say(f"{title(fault)} cannot be downloaded from {name.display}: {error.message}")
        else:
            say(f"{title(fault)} was downloaded from {name.display} and is intact")
            return True
        finally:
            bars.close()
    return False


async def fetch(server: OllamaServer, name: ModelName, fault: Fault, bars: LayerBars) -> None:
    """Download a blob. Raises OllamaError."""
    async for step in server.transfers.fetch(name, fault.needed.layer):
        bars.show(step)


def sources(fault: Fault) -> list[ModelName]:
    """Return the models whose registries may have a blob, one for each repository."""
    source, found = fault.needed.layer.from_, list(fault.needed.models)
    if ":" in source:  # else it is the name of a file, or missing
        with contextlib.suppress(InvalidName):
            found.append(ModelName.parse(source))
    return list({name.parts[:3]: name for name in reversed(found)}.values())[::-1]


def report_leftovers(store: Store, repair: bool) -> None:
    """Report files that no model uses, and remove those that this program wrote."""
    left = Leftovers(store)
    if left.ours:
        verb = "removed" if repair else "left over"
        say(f"{len(left.ours)} files of work that was cut off ({size(size_of(left.ours))}): {verb}")
    if repair:
        tidy(store)
    if left.others:
        say(
            f"{len(left.others)} files that no model needs ({size(size_of(left.others))}) stay: "
            "they may belong to work that goes on, or to others"
        )


def verdict(left: list[Fault], needs: Needs, repair: bool) -> str:
    """Return the error that ends the command."""
    broken = {name.display for fault in left for name in fault.needed.models}
    broken |= {name.display for name in needs.unreadable}
    hint = "" if repair else " --repair downloads the files that registries still have."
    return (
        f"{len(left)} files and {len(needs.unreadable)} manifests are missing or damaged.{hint}\n"
        f"Pull, create or remove: {', '.join(sorted(broken))}"
    )


def title(fault: Fault) -> str:
    """Name a blob: the beginning of its digest and its size."""
    layer = fault.needed.layer
    return f"{layer.digest[:19]} ({size(layer.size)})"


def models(fault: Fault) -> str:
    """Return the names of the models that need a blob."""
    return ", ".join(name.display for name in fault.needed.models)
