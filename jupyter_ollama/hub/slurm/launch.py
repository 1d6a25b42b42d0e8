"""The command and the environment of an endpoint's job, from those of its front."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .settings import SlurmEndpoint

_OF_THE_FRONT = ("JUPYTERHUB_SERVICE_URL", "JUPYTER_OLLAMA_URL", "JUPYTER_OLLAMA_TOKEN")
"""Variables with addresses that are not those of the job."""
_INSIDE_A_JOB = ("SLURM_", "SBATCH_")
"""Variables of a job that the front itself may run in, which sbatch would read as options."""
_CLUSTER = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")


@dataclass(frozen=True)
class Launch:
    """The script that sbatch submits, with its arguments, and the variables of the job."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def launch(
    settings: SlurmEndpoint, arguments: Sequence[str], environment: Mapping[str, str]
) -> Launch:
    """Return what to submit: an endpoint with the settings and the variables of the front.

    ``arguments`` are the settings of the front's command line.
    """
    program = settings.job_command or [str(Path(sys.executable).with_name("jupyter-ollama"))]
    passed_on = [text for text in arguments if not text.startswith("--SlurmEndpoint.")]
    idle = f"--idle-minutes={settings.idle_minutes:g}"
    own = ["hub", f"--register={settings.folder}", idle, *passed_on]
    variables = {
        name: value
        for name, value in environment.items()
        if name not in _OF_THE_FRONT and (name in _CLUSTER or not name.startswith(_INSIDE_A_JOB))
    }
    if settings.hub_api:
        variables["JUPYTERHUB_API_URL"] = settings.hub_api.rstrip("/")
    return Launch((*program, *own), variables)
