"""The devices of this host and their free memory, for the server, which never loads llama.cpp."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from ..child_environment import child_environment
from ..errors import OllamaError

KEEP = 10.0
"""Seconds for which a list is returned again: a new one takes a process and some of its time."""

PATIENCE = 120.0
"""Seconds for loading llama.cpp; the first time, a driver may compile its kernels."""


class UnusableBuild(Exception):
    """llama.cpp cannot be loaded; the text is the last line of its output, or another reason."""


class DeviceList:
    """Lists devices in a process of its own; requests at the same time share one."""

    def __init__(self, backends: Sequence[str] = ()) -> None:
        """``backends`` are the files and folders of dynamic backends."""
        self._backends = backends
        self._lock = asyncio.Lock()
        self._listed = float("-inf")
        self._devices: list[dict[str, Any]] = []

    async def get(self) -> list[dict[str, Any]]:
        """Return the names, free and total bytes of each device, and whether it is the CPU.

        Raises OllamaError(500) if llama.cpp cannot be loaded.
        """
        async with self._lock:
            if time.monotonic() - self._listed > KEEP:
                self._devices = await self._list()
                self._listed = time.monotonic()
            return self._devices

    async def _list(self) -> list[dict[str, Any]]:
        try:
            devices: list[dict[str, Any]] = (await build_report(self._backends))["devices"]
        except UnusableBuild:
            text = "llama.cpp cannot list its devices; see `jupyter ollama doctor`"
            raise OllamaError(500, text) from None
        return devices


async def build_report(backends: Sequence[str] = ()) -> dict[str, Any]:
    """Return the report of ``build_report.py`` on the installed llama.cpp and further backends.

    Raises UnusableBuild.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "jupyter_ollama.engine.build_report", *backends),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, errors = await process.communicate()
    except TimeoutError:
        raise UnusableBuild(f"it does not start within {PATIENCE:.0f} seconds") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        raise UnusableBuild(lines[-1] if lines else f"it ends with status {process.returncode}")
    report: dict[str, Any] = json.loads(output)
    return report
