"""Slurm's programs: submit, list and cancel jobs. No shell is involved."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import one_line
from .settings import SlurmEndpoint

PENDING = frozenset(
    [
        "PENDING",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
        "SUSPENDED",
        "STOPPED",
    ]
)
"""States of jobs that run later, or run on later."""
RUNNING = frozenset(["CONFIGURING", "RUNNING", "RESIZING", "SIGNALING", "STAGE_OUT"])
"""States of jobs that run; those in neither set have ended or are ending."""
CLEAN = frozenset(["COMPLETED", "COMPLETING", "TIMEOUT", "CANCELLED", "PREEMPTED", "REVOKED"])
"""Ends that say nothing against the next job."""

_FORMAT = "%i|%T|%P|%S|%r"
_ID = re.compile(r"(\d+)(;.*)?")


class SlurmError(Exception):
    """A program of Slurm that failed; the text is its reason."""


@dataclass(frozen=True)
class Job:
    """A job as squeue lists it. ``start`` is its start, expected or past, "" if unknown."""

    id: int
    state: str
    partition: str
    start: str
    reason: str

    @property
    def is_alive(self) -> bool:
        """Whether the job runs or will."""
        return self.state in PENDING or self.state in RUNNING


class SlurmCommands:
    """The programs of the settings, run for one endpoint."""

    def __init__(self, settings: SlurmEndpoint) -> None:
        self._settings = settings

    async def submit(self, log: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Submit the endpoint's job and return its id. Raises SlurmError.

        ``log`` is the path of its output, with %j for the id.
        """
        settings = self._settings
        # A job that Slurm requeues keeps its id, so an old address would pass for its new one.
        options = ["--parsable", f"--job-name={settings.job_name}", f"--output={log}"]
        options += ["--export=ALL", "--no-requeue"]
        options += [f"--gres={settings.gpus}"] if settings.gpus else []
        options += [f"--time={settings.time_limit}"] if settings.time_limit else []
        said = await self._run(
            [*settings.submit_command, *options, *settings.options, *command], environment
        )
        found = _ID.fullmatch(said.strip())
        if not found:
            raise SlurmError(f"{settings.submit_command[0]} printed no job id: {one_line(said)}")
        return int(found[1])

    async def jobs(self) -> list[Job]:
        """Return the jobs of our name and user, recently ended ones too. Raises SlurmError."""
        options = ["--noheader", "--me", f"--name={self._settings.job_name}", "--states=all"]
        said = await self._run([*self._settings.queue_command, *options, f"--format={_FORMAT}"])
        return [_job(line) for line in said.splitlines() if line.strip()]

    async def place(self, job: Job) -> int | None:
        """Return the place of a pending job in its partition's queue, None if Slurm hides it.

        Raises SlurmError.
        """
        options = ["--noheader", "--states=PENDING", f"--partition={job.partition}"]
        options += ["--sort=-p,i", "--format=%i"]
        said = await self._run([*self._settings.queue_command, *options])
        listed = said.split()
        return listed.index(str(job.id)) + 1 if str(job.id) in listed else None

    async def cancel(self, job: int) -> None:
        """Cancel a job. Raises SlurmError."""
        await self._run([*self._settings.cancel_command, str(job)])

    async def _run(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> str:
        name = Path(command[0]).name if command else "the program"
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
            )
        except (OSError, TypeError, ValueError) as error:
            raise SlurmError(f"{name} cannot be run: {error}") from error
        try:
            async with asyncio.timeout(self._settings.command_timeout):
                out, problem = await process.communicate()
        except TimeoutError as error:
            raise SlurmError(f"{name} does not answer") from error
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            text = problem.decode(errors="replace").strip() or f"exit status {process.returncode}"
            raise SlurmError(f"{name}: {one_line(text.removeprefix(f'{name}: '))}")
        return out.decode(errors="replace")


def _job(line: str) -> Job:
    """Return the job of a line of squeue. Raises SlurmError for another line."""
    parts = line.strip().split("|", 4)
    if len(parts) != 5 or not parts[0].isdigit():
        raise SlurmError(f"squeue printed a line that is no job: {one_line(line)}")
    start = "" if parts[3] == "N/A" else parts[3]
    return Job(int(parts[0]), parts[1], parts[2].partition(",")[0], start, parts[4])
