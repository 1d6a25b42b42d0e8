"""The context length of a request without ``num_ctx``: Ollama's rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .devices import Device

SMALLEST_NUM_CTX = 4096
"""The default of every machine. Before a model gets less, other models are unloaded."""

SHORTEST_NUM_CTX = 512
"""The shortest context that is tried before a model is refused for lack of memory."""

ENCODER_NUM_CTX = 8192
"""The longest default of an encoder: it reads a text in one graph, whose buffers grow with the
square of its length."""

TIERS = ((47 * 2**30, 262_144), (23 * 2**30, 32_768))
"""Bytes of GPU memory, and the default from there on. The limits are a GiB below 48 and 24, since
drivers report less than the nominal size."""


def default_num_ctx(devices: Sequence[Device], trained: int, *, is_encoder: bool = False) -> int:
    """Return the default of a machine for a model.

    It follows from the total memory of the machine's own GPUs, and never exceeds the length that
    the model was ``trained`` for (0 if its file does not state one).
    """
    memory = sum(device.total for device in devices if not (device.is_cpu or device.is_remote))
    tokens = next((tokens for least, tokens in TIERS if memory >= least), SMALLEST_NUM_CTX)
    return min(
        tokens, trained if trained > 0 else tokens, ENCODER_NUM_CTX if is_encoder else tokens
    )


def shorter_than(num_ctx: int, least: int) -> Iterator[int]:
    """Yield half of ``num_ctx``, half of that and so on; ``least`` is the last."""
    while num_ctx > least:
        num_ctx = max(num_ctx // 2, least)
        yield num_ctx
