"""Plans the placement of a model's layers and the length of its context. All sizes in bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol, TypeVar

from .devices import Device
from .footprint import Demand, Weights
from .llama_model import LoadError

GPU_RESERVE = 512 * 2**20
"""Kept free on a GPU for its driver and libraries."""

PROCESS_BYTES = 128 * 2**20
"""The memory of a runner without its model: the interpreter, libraries, the vocabulary."""

Choice = TypeVar("Choice")
Of = TypeVar("Of", contravariant=True)


class MemoryShortage(LoadError):
    """A model needs ``required`` bytes of a memory that has ``available``."""

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
    """The number of layers on each GPU: the last ones of the model, including the output layer.

    The routed experts of the first ``cpu_experts`` layers of the model are on the host. ``is_full``
    is False if fewer layers or experts fit than were requested.
    """

    shares: tuple[int, ...] = ()
    is_full: bool = True
    cpu_experts: int = 0

    @property
    def gpu_layers(self) -> int:
        """Layers on GPUs."""
        return sum(self.shares)

    @property
    def only_gpu(self) -> int | None:
        """The GPU that has all of them, None if there are several or none."""
        used = [gpu for gpu, share in enumerate(self.shares) if share]
        return used[0] if len(used) == 1 else None

    def needs(self, weights: Weights, demand: Demand) -> tuple[int, list[int]]:
        """Return the bytes that the host and each GPU need."""
        units = _units(weights, demand)
        start = len(units) - self.gpu_layers
        host = weights.input + sum(units[: min(start, len(weights.layers))])
        host += sum(weights.experts[start : self.cpu_experts])
        host += 0 if self.gpu_layers else weights.output
        units = _units(weights, demand, self.cpu_experts)
        bounds = accumulate(self.shares, initial=start)
        compute = demand.compute_with(self.cpu_experts)
        gpus = [
            sum(units[first:last]) + compute * (last > first) for first, last in pairwise(bounds)
        ]
        return host + compute + demand.outputs, gpus

    def check(self, weights: Weights, demand: Demand, devices: Sequence[Device]) -> None:
        """Raise MemoryShortage if the host or a GPU has too little memory for its part."""
        host, gpus = self.needs(weights, demand)
        usable = _usable(devices)
        if any(need > size for need, size in zip(gpus, usable, strict=False) if need):
            raise MemoryShortage("GPU", sum(gpus), sum(max(0, size) for size in usable))
        available = sum(device.free for device in devices if device.is_cpu)
        if host + PROCESS_BYTES > available:
            raise MemoryShortage("system", host + PROCESS_BYTES, available)


def _units(weights: Weights, demand: Demand, cpu_experts: int = 0) -> list[int]:
    """Return the bytes of each layer on its device, the output layer last.

    The first ``cpu_experts`` layers count without their experts, which stay on the host.
    """
    cache = demand.cache // max(len(weights.layers), 1)
    units = [size + cache for size in weights.layers]
    for layer, size in enumerate(weights.experts[:cpu_experts]):
        units[layer] -= size
    return [*units, weights.output_on_gpu]


def _usable(devices: Sequence[Device]) -> list[int]:
    return [device.free - GPU_RESERVE for device in devices if not device.is_cpu]


def place(
    weights: Weights,
    demand: Demand,
    devices: Sequence[Device],
    *,
    num_gpu: int = -1,
    num_cpu_moe: int = -1,
    main_gpu: int = 0,
    tensor_split: Sequence[float] = (),
    spread: bool = False,
) -> Placement:
    """Put as many layers on the GPUs as fit, ``num_gpu`` of them unless it is negative.

    If they do not fit, the routed experts of as few of the first layers as needed stay on the host,
    and only then whole layers do. With ``num_cpu_moe`` the experts of so many layers stay there.

    A model that fits one GPU is put on one, preferably ``main_gpu``, unless ``tensor_split`` has
    the parts of each, remote ones last. With remote devices, or to ``spread`` a model, the parts
    are proportional to the free memory. Raises MemoryShortage.
    """
    usable = _usable(devices)
    remote = sum(device.is_remote for device in devices)
    parts = [*tensor_split, *(0.0 for _ in usable)][: len(usable)]
    parts = [*parts[len(usable) - remote :], *parts[: len(usable) - remote]]
    spread = not any(parts) and (spread or remote > 0)
    shortage: MemoryShortage | None = None
    for count, cpu_experts, is_full in _choices(
        weights, num_gpu, num_cpu_moe, has_gpu=bool(usable)
    ):
        left = [size - demand.compute_with(cpu_experts) for size in usable]
        units = _units(weights, demand, cpu_experts)
        units = units[len(units) - count :]
        if spread:
            shares = _spread(units, left, by_size=cpu_experts > 0)
        else:
            shares = _by_parts(count, parts) if any(parts) else _by_size(units, left, main_gpu)
        placement = Placement(shares if count else (), is_full, cpu_experts)
        try:
            placement.check(weights, demand, devices)
        except MemoryShortage as error:
            # Fewer layers on the GPUs would not help a host that has too little.
            if error.where == "system":
                raise
            shortage = error
        else:
            return placement
    assert shortage
    raise shortage


def _choices(
    weights: Weights, num_gpu: int, num_cpu_moe: int, *, has_gpu: bool
) -> Iterator[tuple[int, int, bool]]:
    """Yield the layers on GPUs, the first layers with experts on the host, whether that is full.

    The best choice is the first one.
    """
    layers = len(weights.layers)
    most = layers + 1 if has_gpu else 0
    first, last = (most, 0) if num_gpu < 0 else (min(num_gpu, most),) * 2

    def kept(count: int, wanted: int) -> int:
        """Return 0 instead of ``wanted`` if no layer on a GPU is concerned."""
        return wanted if any(weights.experts[layers + 1 - count : wanted]) else 0

    if num_cpu_moe >= 0:
        for count in range(first, last - 1, -1):
            yield count, kept(count, min(num_cpu_moe, layers)), count == first
        return
    yield first, 0, True
    for layer in range(layers + 1 - first, layers):
        if any(weights.experts[layer : layer + 1]):
            yield first, layer + 1, False
    for count in range(first - 1, last - 1, -1):
        yield count, 0, False


def _spread(units: Sequence[int], usable: Sequence[int], *, by_size: bool) -> tuple[int, ...]:
    """Distribute layers by the memory of each GPU: by their number, or by their bytes.

    Layers differ where some have their experts on the host.
    """
    parts = [max(0, size) for size in usable]
    if not any(parts):
        return _by_size(units, usable, 0)
    if not by_size:
        return _by_parts(len(units), parts)
    ends = list(accumulate(parts))
    scale = ends.pop() / max(sum(units), 1)
    middles = [end - unit / 2 for end, unit in zip(accumulate(units), units, strict=True)]
    owners = [sum(end <= middle * scale for end in ends) for middle in middles]
    return tuple(owners.count(gpu) for gpu in range(len(parts)))


def _by_parts(count: int, parts: Sequence[float]) -> tuple[int, ...]:
    """Distribute layers as llama.cpp does: by where the index of each falls among the parts."""
    ends = [end / sum(parts) for end in accumulate(parts)]
    owners = [sum(end <= layer / count for end in ends) for layer in range(count)]
    return tuple(owners.count(gpu) for gpu in range(len(parts)))


def _by_size(units: Sequence[int], usable: Sequence[int], main_gpu: int) -> tuple[int, ...]:
    """Put all layers on one GPU that holds them, else fill one GPU after the other."""
    gpus = range(len(usable))
    for gpu in sorted(gpus, key=lambda gpu: (gpu != main_gpu, -usable[gpu])):
        if sum(units) <= usable[gpu]:
            return tuple(len(units) * (other == gpu) for other in gpus)
    shares: list[int] = []
    left = list(units)
    for size in usable:
        shares.append(sum(used <= size for used in accumulate(left)))
        left = left[shares[-1] :]
    # The remaining layers fit nowhere; the check then finds that the last GPU is too small.
    return (*shares[:-1], shares[-1] + len(left)) if shares else ()


class Estimates(Protocol[Of]):
    """The demand of each choice: a fast safe estimate (None if there is none), or a measurement."""

    def rough(self, choice: Of, /) -> Demand | None: ...

    def measured(self, choice: Of, /) -> Demand: ...


def plan(
    choices: Sequence[Choice],
    estimates: Estimates[Choice],
    place_for: Callable[[Demand], Placement],
    devices: Sequence[Device],
    shorter: Sequence[Choice] = (),
) -> tuple[Placement, Choice]:
    """Return the first choice that leaves memory for other models, else the last if it fits.

    ``shorter`` are further choices that replace the last one if it does not fit, or if it moves
    layers off the GPUs and they do not. Nothing is measured where twice the rough demand fits.
    Raises MemoryShortage.
    """
    for choice in choices:
        rough = estimates.rough(choice)
        placement = _ample(rough.doubled(), place_for, devices) if rough else None
        placement = placement or _ample(estimates.measured(choice), place_for, devices)
        if placement:
            return placement, choice
    fitting: list[tuple[Placement, Choice]] = []
    shortage: MemoryShortage | None = None
    for choice in (choices[-1], *shorter):
        try:
            placement = place_for(estimates.measured(choice))
        except MemoryShortage as error:
            shortage = error
            continue
        if placement.is_full:
            return placement, choice
        fitting.append((placement, choice))
    if not fitting and shortage:
        raise shortage
    return fitting[0]


def _ample(
    demand: Demand, place_for: Callable[[Demand], Placement], devices: Sequence[Device]
) -> Placement | None:
    """Place a demand if all layers fit and the cache takes at most a quarter of the free memory."""
    try:
        placement = place_for(demand)
    except MemoryShortage:
        return None
    on_gpus = placement.gpu_layers > 0
    free = sum(device.free for device in devices if device.is_cpu != on_gpus)
    return placement if placement.is_full and demand.cache <= free / 4 else None
