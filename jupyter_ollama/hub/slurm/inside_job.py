"""The endpoint inside a Slurm job: it listens with TLS, registers, and ends when it is idle."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback

from .registration import Address, make_certificate, write

_LOOKS = 4
"""How often the idle time is looked at in its length."""
_LONGEST_LOOK = 15.0
_FROM_THE_FRONT = 65_536
"""Connections from one address: the requests of all users come from that of the front."""


@dataclass(frozen=True)
class JobSettings:
    """The folder to register in, this job's id, and the idle minutes after which it ends."""

    folder: Path
    id: int
    idle_minutes: float

    @classmethod
    def of_environment(cls, folder: str, idle_minutes: float) -> JobSettings:
        """Return the settings of the job that this process is in. Raises ValueError outside one."""
        number = os.environ.get("SLURM_JOB_ID", "")
        if not number.isdigit():
            raise ValueError("--register is for a Slurm job: SLURM_JOB_ID is not set")
        return cls(Path(folder), int(number), idle_minutes)


def listening(folder: Path) -> list[str]:
    """Return the settings to listen at a free port, with a new certificate in a private folder."""
    certificate, key = make_certificate(socket.gethostname(), folder)
    return [
        f"--ServerApp.certfile={certificate}",
        f"--ServerApp.keyfile={key}",
        "--ServerApp.client_ca=",
        "--ServerApp.ip=0.0.0.0",
        "--ServerApp.port=0",
        f"--OllamaServer.max_connections_of_address={_FROM_THE_FRONT}",
    ]


def register(app: ServerApp, job: JobSettings) -> None:
    """Write the address of a server that listens, and begin to look for idle time."""
    sockets = app.http_server._sockets.values()
    port = next(iter(sockets)).getsockname()[1]
    url = f"https://{socket.gethostname()}:{port}{app.base_url}"
    write(job.folder, Address(job.id, url, Path(app.certfile).read_text(encoding="utf-8")))
    app.log.info("Registered %s for job %d", url, job.id)
    if job.idle_minutes > 0:
        seconds = job.idle_minutes * 60
        looks = PeriodicCallback(
            lambda: _end_if_idle(app, seconds), 1000 * min(_LONGEST_LOOK, seconds / _LOOKS)
        )
        looks.start()


def _end_if_idle(app: ServerApp, seconds: float) -> None:
    """Stop the server if no request to a model came for that long and none runs."""
    if app.extension_manager.any_activity():
        return
    idle = (datetime.now(UTC) - app.web_app.last_activity()).total_seconds()
    if idle > seconds:
        app.log.info("No requests for %.0f seconds: the job ends", idle)
        app.stop()
