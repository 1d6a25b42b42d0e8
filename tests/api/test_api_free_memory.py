"""Memory that requests have freed goes back to the system."""

from __future__ import annotations

import asyncio
import gc

import psutil
from api_client import Fetch, wait_until

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.flow_control.free_memory import FreeMemory

BLOCK = 5_000
COUNT = 20_000


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


async def test_freed_memory_below_a_block_in_use_is_returned(
    standalone: Fetch, ollama_server: OllamaServer
) -> None:
    memory = ollama_server.free_memory = FreeMemory(pause=0.01)
    blocks = [bytearray(b"x" * BLOCK) for _ in range(COUNT)]
    kept = blocks[::500]
    gc.collect()
    del blocks
    before = resident()
    assert (await standalone("GET", "/api/version")).code == 200
    await asyncio.wait_for(wait_until(lambda: before - resident() > BLOCK * COUNT / 2), 10)
    assert len(kept) == COUNT // 500
    memory.close()


async def test_requests_at_once_return_memory_once(ollama_server: OllamaServer) -> None:
    memory = FreeMemory(pause=60)
    memory.return_later()
    timer = memory._timer
    memory.return_later()
    assert memory._timer is timer
    memory.close()
    assert timer
    assert timer.cancelled()
