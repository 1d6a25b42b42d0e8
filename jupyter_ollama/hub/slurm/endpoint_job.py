"""The one job of an endpoint: submitted on demand, found again, watched, and waited for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import one_line
from ...scheduler.limits import LimitReached
from .commands import CLEAN, PENDING, Job, SlurmCommands, SlurmError
from .launch import Launch
from .registration import LOG, Address, last_words, read, remove_logs
from .settings import SlurmEndpoint

log = logging.getLogger(__name__)

REPEAT_SECONDS = 10.0
"""Seconds without a change after which waiting requests report again, so that no proxy between
takes their connection for dead."""


@dataclass(frozen=True)
class Waits:
    """Why the job does not serve yet, for clients. ``position`` is its place in Slurm's queue."""

    status: str
    text: str
    position: int | None = None


class EndpointJob:
    """Keeps at most one job, while requests need it."""

    def __init__(self, settings: SlurmEndpoint, commands: SlurmCommands, launch: Launch) -> None:
        self._settings = settings
        self._commands = commands
        self._launch = launch
        self._folder = Path(settings.folder)
        self._job: Job | None = None
        self._address: Address | None = None
        self._running_since = 0.0
        self._has_served = False
        self._waits = Waits("queued", "the endpoint's job is being submitted to Slurm")
        self._failures = 0
        self._failure = ""
        self._not_before = 0.0
        self._waiting = 0
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def address(self) -> Address | None:
        """The address of the job, None if it does not serve."""
        return self._address

    def watch(self) -> None:
        """Look for a job that runs already, and follow it; needs the running event loop."""
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop watching. The job runs on, for the next start of the front, until it is idle."""
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher

    async def serving(
        self, report: Callable[[Waits], None] | None, patience: float | None
    ) -> Address:
        """Return the address of the job, submitted now if there is none.

        ``report`` gets the reason for the wait at once, at each change and regularly. Raises
        LimitReached: a 503 if the job has failed, ``patience`` seconds are over or too many wait.
        """
        if self._address:
            return self._address
        if self._waiting >= self._settings.max_waiting:
            raise LimitReached(f"too many requests wait: {self._waits.text}", self._delay(), 503)
        if time.monotonic() < self._not_before:
            raise self._refusal()
        self.watch()
        if self._job is None:
            self._wake.set()
        self._waiting += 1
        try:
            async with asyncio.timeout(patience):
                return await self._outcome(self._failures, report)
        except TimeoutError:
            raise LimitReached(self._waits.text, self._delay(), 503) from None
        finally:
            self._waiting -= 1

    async def _outcome(self, failures: int, report: Callable[[Waits], None] | None) -> Address:
        """Wait for an address or a further failure."""
        while True:
            changed = self._changed
            if self._address:
                return self._address
            if self._failures > failures:
                raise self._refusal()
            if report:
                report(self._waits)
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), REPEAT_SECONDS)

    def lost(self, address: Address) -> None:
        """Look at once whether the job still runs: it cannot be reached at its address."""
        if self._address == address:
            self._address = None
            self._wake.set()

    def _delay(self) -> float:
        """Return the seconds after which a request that cannot wait should come again."""
        return max(self._settings.poll_seconds, 10.0)

    def _refusal(self) -> LimitReached:
        return LimitReached(self._failure, self._not_before - time.monotonic(), 503)

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._look()
                if self._job is None and self._waiting and time.monotonic() >= self._not_before:
                    await self._submit()
            except SlurmError as error:
                # A job that is known may still serve.
                self._wait_for("queued", f"Slurm does not answer: {error}")
                log.warning("Slurm does not answer: %s", error)
            except Exception:
                log.exception("The endpoint's job cannot be watched")
            self._changed.set()
            self._changed = asyncio.Event()
            await self._pause()

    async def _pause(self) -> None:
        """Wait until the next look. Requests can bring it forward, but not below a second."""
        settings = self._settings
        least = min(1.0, settings.poll_seconds)
        await asyncio.sleep(least)
        wait: float | None = None
        if self._address:
            wait = settings.watch_seconds
        elif self._job or self._waiting:
            wait = settings.poll_seconds
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait and max(0.0, wait - least))

    async def _look(self) -> None:
        """Ask Slurm for the job. Raises SlurmError."""
        listed = {job.id: job for job in await self._commands.jobs()}
        if self._job is None:
            alive = [job for job in listed.values() if job.is_alive]
            if not alive:
                return
            self._job = max(alive, key=lambda job: job.id)
            log.info("Found job %d, %s", self._job.id, self._job.state)
        found = listed.get(self._job.id)
        if found is None or not found.is_alive:
            await self._end(self._job, found)
            return
        self._job = found
        if found.state in PENDING:
            self._address, self._running_since = None, 0.0
            await self._look_at_queue(found)
        else:
            await self._look_at_address(found)

    async def _look_at_queue(self, job: Job) -> None:
        place = await self._commands.place(job)
        parts = [f"Slurm job {job.id} is {job.state.lower()}: {one_line(job.reason)}"]
        parts += [f"place {place} in the queue of {job.partition}"] if place else []
        parts += [f"expected to start at {job.start}"] if job.start else []
        self._wait_for("queued", ", ".join(parts), place)

    async def _look_at_address(self, job: Job) -> None:
        known = self._address
        self._address = await asyncio.to_thread(read, self._folder, job.id)
        if self._address:
            self._has_served = True
            if self._address != known:
                log.info("Job %d serves at %s", job.id, self._address.url)
            return
        self._wait_for("loading", f"Slurm job {job.id} starts")
        self._running_since = self._running_since or time.monotonic()
        seconds = self._settings.start_seconds
        if time.monotonic() - self._running_since > seconds:
            await self._commands.cancel(job.id)
            self._forget()
            await self._fail(f"Slurm job {job.id} has no address after {seconds:g} s", job.id)

    async def _end(self, job: Job, found: Job | None) -> None:
        """Take note of the end of the job; ``found`` is its last state, if Slurm knows it."""
        state = f"{found.state} ({one_line(found.reason)})" if found else "unknown to Slurm"
        is_clean = self._has_served and (found is None or found.state in CLEAN)
        self._forget()
        if is_clean:
            self._failures = 0
            log.info("Job %d has ended: %s", job.id, state)
        else:
            await self._fail(f"Slurm job {job.id} has failed: {state}", job.id)

    async def _submit(self) -> None:
        self._wait_for("queued", "the endpoint's job is being submitted to Slurm")
        try:
            await asyncio.to_thread(remove_logs, self._folder, self._settings.max_logs)
            path = str(self._folder / LOG.format("%j"))
            job = await self._commands.submit(path, self._launch.command, self._launch.environment)
        except (SlurmError, OSError) as error:
            await self._fail(f"the endpoint's job cannot be submitted: {error}")
            return
        log.info("Submitted job %d", job)
        self._job = Job(job, "PENDING", "", "", "")
        with suppress(SlurmError):
            await self._look()

    async def _fail(self, text: str, job: int | None = None) -> None:
        """Refuse requests with a reason for a while, longer after each further failure."""
        if job is not None:
            words = await asyncio.to_thread(last_words, self._folder, job)
            text += f". Its log ends with: {one_line(words)}" if words else ""
        self._failures += 1
        wait = self._settings.retry_seconds * 2.0 ** min(self._failures - 1, 30)
        wait = min(wait, self._settings.max_retry_seconds)
        self._failure, self._not_before = text, time.monotonic() + wait
        log.error("%s. No further one for %.0f s", text, wait)

    def _forget(self) -> None:
        self._job = self._address = None
        self._running_since, self._has_served = 0.0, False

    def _wait_for(self, status: str, text: str, position: int | None = None) -> None:
        self._waits = Waits(status, text, position)
