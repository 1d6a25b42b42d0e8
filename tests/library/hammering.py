"""A process that creates, copies, pulls and removes models until its input closes:

python hammering.py STORE SEED REGISTRY GGUF...
"""

from __future__ import annotations

import asyncio
import random
import select
import sys
from pathlib import Path

from interrupted_create import upload

from jupyter_ollama.engine import quantize
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.registry.transfers import Transfers

NAMES = ["a", "b", "c", "d"]
ALLOWED = ("not found", "is damaged: [Errno 2]")
"""Errors allowed for a model that another process has just removed."""


class Hammer:
    """Performs random operations."""

    def __init__(self, root: str, seed: str, registry: str, files: list[Path]) -> None:
        self.library = Library.open(root)
        self.transfers = Transfers(self.library.store)
        self.dice = random.Random(seed)
        self.registry = registry
        self.files = files

    def create(self) -> None:
        digest = upload(self.library, self.dice.choice(self.files))
        self.make(files={"weights.gguf": digest})

    def build_on(self) -> None:
        self.make(from_=self.dice.choice(NAMES))

    def make(self, **source: object) -> None:
        system = self.dice.choice(["Be brief.", "Be kind.", "Be quiet."])
        name = self.dice.choice(NAMES)
        request = CreateRequest(model=name, system=system, **source)
        for _ in create(self.library.store, request, quantize.run):
            pass

    def copy(self) -> None:
        self.library.copy(self.dice.choice(NAMES), self.dice.choice(NAMES))

    def delete(self) -> None:
        self.library.delete(self.dice.choice(NAMES))

    def pull(self) -> None:
        name = ModelName.parse(f"{self.registry}/me/{self.dice.choice(['one', 'two'])}")
        asyncio.run(self._pull(name))
        if self.dice.random() < 0.7:
            self.library.delete(name.qualified)

    async def _pull(self, name: ModelName) -> None:
        async for _ in self.transfers.pull(name, insecure=True):
            pass

    def list(self) -> None:
        self.library.list()

    def run(self) -> None:
        """Run until standard input is readable or closed."""
        deeds = [self.create, self.build_on, self.copy, self.delete, self.delete, self.pull]
        while not select.select([sys.stdin], [], [], 0)[0]:
            try:
                self.dice.choice([*deeds, self.list])()
            except OllamaError as error:
                if not any(text in error.message for text in ALLOWED):
                    raise
            else:
                print("done", flush=True)


if __name__ == "__main__":
    root, seed, registry, *files = sys.argv[1:]
    Hammer(root, seed, registry, list(map(Path, files))).run()
