"""Models that run on other servers, as the scheduler sees them: a queue and no loads."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ..engine.model_runner import ModelRunner
from ..library.model import Model
from ..options import LoadOptions, Options
from .fair_queue import FairQueue
from .request import SlotClaim
from .share import Grant


class NamedOptions(Options, omit_defaults=True):
    """Options, and the names of those that the request sets.

    Another server has its own defaults, which hold for all other options.
    """

    named: frozenset[str] = frozenset()

    @classmethod
    def of(cls, options: Options, named: frozenset[str]) -> NamedOptions:
        """Return the same options with names."""
        return cls(**msgspec.structs.asdict(options), named=named)

    def without_load_options(self) -> frozenset[str]:
        """Forget the named options that decide about loads, and return their names."""
        lost = self.named & {*LoadOptions.__struct_fields__}
        self.named -= lost
        return lost


class RemoteModel(Model):
    """A model of another server.

    ``runner`` passes requests on; ``slots`` are the most of them at once, for each ``queue_key``.
    """

    is_read = True
    runner: ModelRunner
    slots: int
    queue_key: str

    @property
    def completes_raw(self) -> bool:
        """Whether its server continues a text without a template for OpenAI's /v1/completions."""
        return False


@dataclass(frozen=True)
class RemoteSlots:
    """The queue for a remote model, and what answers the requests that leave it."""

    queue: FairQueue
    answers: ModelRunner

    async def acquire_slot(self, claim: SlotClaim) -> Grant:
        """Wait for a slot and take it."""
        return await self.queue.acquire(claim)

    def release_slot(self, grant: Grant) -> None:
        """Release a slot for the next request. A second call does nothing."""
        self.queue.release(grant)

    def put_back_slot(self, grant: Grant) -> None:
        """Take back a slot whose request has to wait again."""
        self.queue.put_back(grant)


class RemoteQueues:
    """The queues of remote models, each as long as its model is in use or known."""

    def __init__(self) -> None:
        self._queues: dict[str, FairQueue] = {}

    def slots_of(self, model: RemoteModel) -> RemoteSlots:
        """Return the queue of a model, with as many slots as its servers have now."""
        queue = self._queues.get(model.queue_key)
        if queue is None:
            self._queues = {key: one for key, one in self._queues.items() if one.is_recent}
            queue = self._queues[model.queue_key] = FairQueue(model.slots)
        queue.resize(model.slots)
        return RemoteSlots(queue, model.runner)
