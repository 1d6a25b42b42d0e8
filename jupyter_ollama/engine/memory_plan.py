"""Where the layers of a model go, and how long its context can be: arithmetic, sizes in bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol, TypeVar

from .devices import Device
from .footprint import Demand, Weights
from .llama_model import LoadError

GPU_RESERVE = 512 * 2**20
"""Kept free on a GPU for its driver and libraries."""

PROCESS_BYTES = 128 * 2**20
"""Taken by a runner without its model: the interpreter, libraries, the vocabulary."""

Choice = TypeVar("Choice")
Of = TypeVar("Of", contravariant=True)


class MemoryShortage(LoadError):
    """A model needs ``required`` bytes where ``available`` are left."""

    def __init__(self, where: str, required: int, available: int) -> None:
        super().__init__(
            f"model requires more {where} memory ({_readable(required)}) "
            f"than is available ({_readable(available)})"
        )
        self.where = where
        self.required = required
        self.available = available


def _readable(size: int) -> str:
    size = max(size, 0)
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


@dataclass(frozen=True)
class Placement:
    """How many layers each GPU takes, the last ones of the model, the output layer counted.

    ``is_full`` is False if it was to be more of them, had there been room.
    """

    shares: tuple[int, ...] = ()
    is_full: bool = True

    @property
    def gpu_layers(self) -> int:
        """Layers on GPUs."""
        return sum(self.shares)

    @property
    def only_gpu(self) -> int | None:
        """The GPU that has them all, None if there are several or none."""
        used = [gpu for gpu, share in enumerate(self.shares) if share]
        return used[0] if len(used) == 1 else None

    def needs(self, weights: Weights, demand: Demand) -> tuple[int, list[int]]:
        """Return what is needed of the host and of each GPU."""
        units = _units(weights, demand)
        start = len(units) - self.gpu_layers
        bounds = accumulate(self.shares, initial=start)
        gpus = [
            sum(units[first:last]) + demand.compute * (last > first)
            for first, last in pairwise(bounds)
        ]
        host = weights.input + sum(units[: min(start, len(weights.layers))])
        host += 0 if self.gpu_layers else weights.output
        return host + demand.compute + demand.outputs, gpus

    def check(self, weights: Weights, demand: Demand, devices: Sequence[Device]) -> None:
        """Raise MemoryShortage if the host or a GPU has no room for its part."""
        host, gpus = self.needs(weights, demand)
        rooms = _rooms(devices)
        if any(need > room for need, room in zip(gpus, rooms, strict=False) if need):
            raise MemoryShortage("GPU", sum(gpus), sum(max(0, room) for room in rooms))
        available = sum(device.free for device in devices if device.is_cpu)
        if host + PROCESS_BYTES > available:
            raise MemoryShortage("system", host + PROCESS_BYTES, available)


def _units(weights: Weights, demand: Demand) -> list[int]:
    """What each layer takes on the device it is on, the output layer as the last."""
    cache = demand.cache // max(len(weights.layers), 1)
    return [*(size + cache for size in weights.layers), weights.output_on_gpu]


def _rooms(devices: Sequence[Device]) -> list[int]:
    return [device.free - GPU_RESERVE for device in devices if not device.is_cpu]


def place(
    weights: Weights,
    demand: Demand,
    devices: Sequence[Device],
    *,
    num_gpu: int = -1,
    main_gpu: int = 0,
    tensor_split: Sequence[float] = (),
) -> Placement:
    """Put as many layers on the GPUs as fit, ``num_gpu`` of them unless it is negative.

    A model that fits one GPU goes to one, ``main_gpu`` rather than another, unless
    ``tensor_split`` tells the parts of each, remote ones last. With remote devices each takes as
    much of it as it has of the free memory. Raises MemoryShortage.
    """
    units = _units(weights, demand)
    rooms = [room - demand.compute for room in _rooms(devices)]
    most = len(units) if rooms else 0
    remote = sum(device.is_remote for device in devices)
    parts = [*tensor_split, *(0.0 for _ in rooms)][: len(rooms)]
    parts = [*parts[len(rooms) - remote :], *parts[: len(rooms) - remote]]
    if remote and not any(parts):
        parts = [max(0, room) for room in rooms]
    first, last = (most, 0) if num_gpu < 0 else (min(num_gpu, most),) * 2
    for count in range(first, last - 1, -1):
        on_gpus = units[len(units) - count :]
        shares = _by_parts(count, parts) if any(parts) else _by_room(on_gpus, rooms, main_gpu)
        placement = Placement(shares if count else (), is_full=count == first)
        try:
            placement.check(weights, demand, devices)
        except MemoryShortage as error:
            # Fewer layers on the GPUs would not help a host that has too little.
            if count == last or error.where == "system":
                raise
        else:
            return placement
    raise AssertionError("unreachable")


def _by_parts(count: int, parts: Sequence[float]) -> tuple[int, ...]:
    """Share out layers as llama.cpp does: each goes where its place on the line falls."""
    ends = [end / sum(parts) for end in accumulate(parts)]
    owners = [sum(end <= layer / count for end in ends) for layer in range(count)]
    return tuple(owners.count(gpu) for gpu in range(len(parts)))


def _by_room(units: Sequence[int], rooms: Sequence[int], main_gpu: int) -> tuple[int, ...]:
    """Give all layers to one GPU that has room, else fill one after the other."""
    gpus = range(len(rooms))
    for gpu in sorted(gpus, key=lambda gpu: (gpu != main_gpu, -rooms[gpu])):
        if sum(units) <= rooms[gpu]:
            return tuple(len(units) * (other == gpu) for other in gpus)
    shares: list[int] = []
    left = list(units)
    for room in rooms:
        shares.append(sum(used <= room for used in accumulate(left)))
        left = left[shares[-1] :]
    # What is left fits nowhere; the last one is to be found too small for it.
    return (*shares[:-1], shares[-1] + len(left)) if shares else ()


class Estimates(Protocol[Of]):
    """What each choice demands: safely and at once (None if that cannot be said), or exactly."""

    def rough(self, choice: Of, /) -> Demand | None: ...

    def measured(self, choice: Of, /) -> Demand: ...


def plan(
    choices: Sequence[Choice],
    estimates: Estimates[Choice],
    place_for: Callable[[Demand], Placement],
    devices: Sequence[Device],
) -> tuple[Placement, Choice]:
    """Take the first choice that leaves room for others, else the last if it fits at all.

    Where twice the rough demand has room nothing is measured. Raises MemoryShortage.
    """
    for choice in choices:
        rough = estimates.rough(choice)
        placement = _roomy(rough.doubled(), place_for, devices) if rough else None
        placement = placement or _roomy(estimates.measured(choice), place_for, devices)
        if placement:
            return placement, choice
    return place_for(estimates.measured(choices[-1])), choices[-1]


def _roomy(
    demand: Demand, place_for: Callable[[Demand], Placement], devices: Sequence[Device]
) -> Placement | None:
    """Place a demand if no layer has to give way and the cache takes a quarter of what is free."""
    try:
        placement = place_for(demand)
    except MemoryShortage:
        return None
    on_gpus = placement.gpu_layers > 0
    free = sum(device.free for device in devices if device.is_cpu != on_gpus)
    return placement if placement.is_full and demand.cache <= free / 4 else None
