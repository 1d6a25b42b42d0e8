"""Memory that requests have freed goes back to the system."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import psutil
import pytest
from api_client import Fetch, wait_until

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.flow_control.free_memory import FreeMemory

BLOCK = 5_000
COUNT = 20_000
THREADS = 8
IN_THREADS = """
import sys, threading, time
import psutil
from jupyter_ollama import heap
from jupyter_ollama.flow_control import free_memory

size, count, threads = map(int, sys.argv[1:])
free_memory.bound_heaps()
bytearray(2**24)  # glibc keeps more free memory after it has freed a large block
barrier = threading.Barrier(threads)
kept = []

def work():
    blocks = [bytearray(size) for _ in range(count)]
    barrier.wait()
    kept.append(blocks[0])

at_work = [threading.Thread(target=work) for _ in range(threads)]
before = psutil.Process().memory_info().rss
for thread in at_work:
    thread.start()
for thread in at_work:
    thread.join()
heap.return_memory()
print(psutil.Process().memory_info().rss - before)
"""
"""Prints the bytes that remain of blocks that threads allocate and free at once."""


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


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of glibc")
def test_the_memory_of_threads_is_returned() -> None:
    command = [sys.executable, "-c", IN_THREADS, *map(str, (BLOCK, COUNT // THREADS, THREADS))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 0.1 * BLOCK * COUNT
