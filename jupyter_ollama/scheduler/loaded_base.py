"""The runner of models that differ in their adapters only: the weights are in memory once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from ..engine.adapted_runner import AdaptedRunner
from ..engine.model_runner import ModelRunner
from ..engine.protocol import LoadSpec
from ..engine.runner_client import RunnerClient
from .account import Account
from .fair_queue import FairQueue
from .load_request import BaseKey

if TYPE_CHECKING:
    from ..library.model import Model


class RunnerGone(Exception):
    """The runner ended while a request waited for one of its slots; the request may retry."""


def number_of(paths: Sequence[str]) -> int:
    """Return the number of a set of adapters: of 63 bits, the same for the same files."""
    digest = sha256("\0".join(paths).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1 or 1


class Adaptation:
    """The adapters of a model in its runner: their number, and their bytes in all and on GPUs."""

    def __init__(
        self, runner: RunnerClient, number: int = 0, size: int = 0, size_vram: int = 0
    ) -> None:
        self.runner: ModelRunner = AdaptedRunner(runner, number) if number else runner
        self.number = number
        self.size = size
        self.size_vram = size_vram


class Served(Protocol):
    """The attributes of a `LoadedModel` that decide about its runner."""

    model: Model
    adaptation: Adaptation
    users: int
    pinned: bool
    keep_alive: float


class LoadedBase:
    """A runner, the queue for its slots, and the models that it serves.

    It is the unit of eviction. ``draining`` is set while its models accept no new requests, since
    they are to be evicted.
    """

    def __init__(self, key: BaseKey, runner: RunnerClient) -> None:
        self.key = key
        self.runner = runner
        self.models: list[Served] = []
        self.queue = FairQueue(runner.ready.slots)
        self.draining = False
        self.used_at = self.loaded_at = time.monotonic()
        self.used_by: dict[Account, float] = {}
        self.holds = 0
        """Loads of adapters under way: the runner stays, although no model may be loaded yet."""
        runner.exited.add_done_callback(lambda _: self.queue.fail(RunnerGone()))

    @property
    def spec(self) -> LoadSpec:
        """The load parameters of the runner."""
        return self.runner.spec

    @property
    def accepts(self) -> bool:
        """True if further models and requests may use the runner."""
        return self.runner.is_alive and not self.draining

    @property
    def users(self) -> int:
        """The number of users of all models."""
        return self.holds + sum(model.users for model in self.models)

    @property
    def pinned(self) -> bool:
        """True if one of the models is pinned."""
        return any(model.pinned for model in self.models)

    @property
    def keep_alive(self) -> float:
        """The longest keep-alive of the models, in seconds."""
        return max((model.keep_alive for model in self.models), default=0.0)

    @property
    def names(self) -> str:
        """The names of the models, for the log."""
        return ", ".join(model.model.name.display for model in self.models)

    @property
    def size(self) -> int:
        """Bytes of weights, adapters and buffers on all devices."""
        return self.runner.ready.size

    def users_since(self, seconds: float) -> set[Account]:
        """Return the users of the last ``seconds``; earlier ones are forgotten."""
        since = time.monotonic() - seconds
        self.used_by = {one: at for one, at in self.used_by.items() if at > since}
        return {*self.used_by}

    async def adapt(self, paths: Sequence[str]) -> Adaptation:
        """Load adapters, if there are any. Raises OllamaError; LoadRefused for lack of memory."""
        if not paths:
            return Adaptation(self.runner)
        number = number_of(paths)
        for model in self.models:  # one that is about to leave may have them
            if model.adaptation.number == number:
                return model.adaptation
        sizes = await self.runner.load_adapters(number, paths)
        return Adaptation(self.runner, number, *sizes)

    def remove(self, model: Served) -> None:
        """Serve a model no longer, which has no users; its adapters are freed."""
        if model not in self.models:
            return
        self.models.remove(model)
        number = model.adaptation.number
        if number and all(other.adaptation.number != number for other in self.models):
            self.runner.free_adapters(number)
