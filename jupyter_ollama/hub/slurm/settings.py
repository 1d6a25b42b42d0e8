"""The settings of an endpoint that runs as a Slurm job."""

from __future__ import annotations

from pathlib import Path

from traitlets import Float, Int, List, Unicode, default
from traitlets.config import LoggingConfigurable


class SlurmEndpoint(LoggingConfigurable):
    """The Slurm job of a shared endpoint, and the waiting for it."""

    gpus = Unicode(
        "gpu:1",
        help="""Generic resources of the job, as in sbatch --gres: "gpu:a100:1". Empty requests
        none, for a cluster without GPUs.""",
    ).tag(config=True)
    time_limit = Unicode(
        "8:00:00",
        help="""Time limit of the job, as in sbatch --time: a working day, since a shorter job
        starts earlier and an idle one ends before. Empty leaves it to the partition. Requests that
        run at the end get an error, the next request submits a new job.""",
    ).tag(config=True)
    options = List(
        Unicode(),
        help="""Further options of sbatch, one argument each: ["--partition=gpu",
        "--cpus-per-task=8", "--mem=32G"]. They come last, so they override the ones above.""",
    ).tag(config=True)
    job_name = Unicode(
        "jupyter-ollama",
        help="""Name of the job. The front finds its job by this name and its own user after a
        restart, so two endpoints of one user need two names.""",
    ).tag(config=True)
    folder = Unicode(
        help="""Folder for the address and the logs of the job, on a file system that the front and
        the nodes share. It belongs to the user of both, without access for others, as the front
        sends the tokens of users to the address in it. Default: jupyter-ollama-slurm in the home
        folder.""",
    ).tag(config=True)
    job_command = List(
        Unicode(),
        help="""The script that sbatch submits, and its first arguments; those of `jupyter ollama
        hub` are added. A script of the site can load modules or a container before. Default:
        jupyter-ollama beside the front's Python, which the nodes need at the same path.""",
    ).tag(config=True)
    hub_api = Unicode(
        help="""URL of the Hub's API as the nodes reach it: "http://hub.cluster:8081/hub/api". The
        job asks there who its users are. Default: as the front reaches it, which for a service of
        a Hub that listens on all addresses is 127.0.0.1.""",
    ).tag(config=True)
    submit_command = List(Unicode(), ["sbatch"], help="The program that submits jobs.").tag(
        config=True
    )
    queue_command = List(Unicode(), ["squeue"], help="The program that lists jobs.").tag(
        config=True
    )
    cancel_command = List(Unicode(), ["scancel"], help="The program that ends jobs.").tag(
        config=True
    )
    command_timeout = Float(
        30.0,
        min=1.0,
        help="""Seconds for one of these programs. A busy slurmctld answers within some seconds;
        Slurm's own programs give up after about 100.""",
    ).tag(config=True)
    idle_minutes = Float(
        15.0,
        min=0.05,
        help="""Minutes without a request to a model after which the job ends. A GPU that waits
        costs others their turn, a new job costs the next user the wait in Slurm's queue.""",
    ).tag(config=True)
    poll_seconds = Float(
        3.0,
        min=0.2,
        help="""Seconds between two questions to Slurm while requests wait for the job. Each costs
        slurmctld one or two calls, however many requests wait.""",
    ).tag(config=True)
    watch_seconds = Float(
        30.0,
        min=0.2,
        help="""The same while the job serves: a connection that fails is noticed at once, so this
        only finds jobs that ended without a request.""",
    ).tag(config=True)
    patience_seconds = Float(
        60.0,
        min=0.0,
        help="""Seconds for which a request without "progress": true waits for the job. After that
        it gets 503 with its place in Slurm's queue and Retry-After, as many clients give up on a
        silent server after some minutes. Requests with progress get lines and wait on.""",
    ).tag(config=True)
    start_seconds = Float(
        300.0,
        min=1.0,
        help="""Seconds from the start of the job to its address: Python is imported from a shared
        disk. A job that needs longer is cancelled and counts as failed.""",
    ).tag(config=True)
    retry_seconds = Float(
        30.0,
        min=0.1,
        help="""Seconds after a job that failed before the next is submitted; they double with each
        further failure. Meanwhile requests get 503 with the reason.""",
    ).tag(config=True)
    max_retry_seconds = Float(
        900.0,
        min=0.1,
        help="""The most of these seconds: a repaired cluster is found within a quarter of an
        hour.""",
    ).tag(config=True)
    max_waiting = Int(
        256,
        min=1,
        help="""Requests that wait for the job at once; further ones get 503. Their bodies are kept,
        in memory up to 1 MiB each.""",
    ).tag(config=True)
    max_logs = Int(
        20, min=1, help="""Logs of past jobs that stay in the folder: a few days of several jobs."""
    ).tag(config=True)

    @default("folder")
    def _default_folder(self) -> str:
        return str(Path.home() / "jupyter-ollama-slurm")
