"""The polls of an upstream: while its models are listed or used, and never otherwise."""

from __future__ import annotations

import asyncio
import random
import time

from .member import Member

NEEDED = 60.0
"""Seconds after the last use of upstreams for which they are polled."""

LONGEST_PAUSE = 120.0
"""The longest pause in seconds between polls of an upstream that does not answer."""

FRESH = 2.0
"""Seconds for which a list is not asked for again, even for a name that is not in it."""


class Poller:
    """Keeps the list of one upstream fresh."""

    def __init__(self, member: Member, seconds: float) -> None:
        self.member = member
        self._seconds = seconds
        self._pause = seconds
        self._needed_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Poll for a while; needs the running event loop."""
        self._needed_until = time.monotonic() + NEEDED
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())

    async def checked(self, *, again: bool = False) -> None:
        """Wait for the first list, with ``again`` for one that is fresh."""
        member = self.member
        if member.checked_at and not again:
            return
        if time.monotonic() - member.checked_at > FRESH or not member.checked_at:
            await member.refresh()

    async def _poll(self) -> None:
        """Ask at intervals, longer ones while there is no answer, all of them a little random."""
        while time.monotonic() < self._needed_until:
            wait = self.member.checked_at + self._pause - time.monotonic()
            if self.member.checked_at and wait > 0:
                await asyncio.sleep(wait)
                continue
            answered = await self.member.refresh()
            usual = self._seconds if answered else min(LONGEST_PAUSE, self._pause * 2)
            self._pause = usual * random.uniform(0.8, 1.2)

    async def close(self) -> None:
        """End the polls."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
