"""Debian's Slurm on this machine: munged, slurmctld and one slurmd in a folder, without systemd."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cli_process import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
START_TIMEOUT = 30.0
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={control_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SchedulerType=sched/backfill
PriorityType=priority/basic
KillWait=5
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=1
PartitionName=models Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Cluster:
    """A cluster with one node of one CPU, so that jobs wait for each other."""

    folder: Path
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def config(self) -> str:
        """The path of slurm.conf, the value of SLURM_CONF."""
        return str(self.folder / "slurm.conf")

    def ask(self, *command: str) -> str:
        """Return the output of one of Slurm's programs."""
        done = subprocess.run(
            command,
            env=os.environ | {"SLURM_CONF": self.config},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.log()}"
        return done.stdout.strip()

    def jobs(self, *states: str) -> list[int]:
        """Return the ids of the endpoint's jobs in these states, else of those not ended."""
        chosen = [f"--states={','.join(states)}"] if states else []
        command = ["squeue", "--noheader", "--name=jupyter-ollama", "--format=%i", *chosen]
        return [int(line) for line in self.ask(*command).split()]

    def occupy(self) -> int:
        """Submit another user's job that takes the node until it is cancelled; return its id."""
        command = ["sbatch", "--parsable", "--job-name=other", "--output=/dev/null"]
        return int(self.ask(*command, "--wrap", "sleep 600"))

    def cancel(self, *jobs: int) -> None:
        """Cancel jobs."""
        self.ask("scancel", *map(str, jobs))

    def start(self, *command: str) -> None:
        """Start a daemon."""
        with (self.folder / "daemons.log").open("ab") as log:
            started = subprocess.Popen(
                command,
                env=os.environ | {"SLURM_CONF": self.config},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.daemons.append(started)

    def log(self) -> str:
        """Return the ends of the daemons' logs."""
        logs = self.folder.glob("*.log")
        return "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in sorted(logs))


def _write_key(path: Path) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o400), "wb") as file:
        file.write(os.urandom(128))


def _version(program: str) -> tuple[int, ...]:
    """Return the first two numbers of Slurm's version."""
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.split()[-1].split(".")[:2])


def _wait(cluster: Cluster, command: Sequence[str], expected: str) -> None:
    end = time.monotonic() + START_TIMEOUT
    environment = os.environ | {"SLURM_CONF": cluster.config}
    while time.monotonic() < end:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if expected in done.stdout:
            return
        time.sleep(0.2)
    raise AssertionError(f"{command} does not say {expected!r}: {done}\n{cluster.log()}")


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """Run a cluster in a folder of its own."""
    # Debian keeps the daemons where only root's PATH leads.
    found = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in PROGRAMS}
    missing = "these tests need Slurm: apt-get install munge slurm-client slurmctld slurmd"
    assert all(found.values()), missing
    cluster = Cluster(folder)
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    _write_key(folder / "munge.key")
    host = socket.gethostname()
    text = CONFIG.format(
        host=host,
        user=getpass.getuser(),
        folder=folder,
        control_port=free_port(),
        node_port=free_port(),
    )
    Path(cluster.config).write_text(text)
    if _version(str(found["slurmd"])) >= (23, 11):
        # Older ones do not look for control groups with this configuration.
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
    files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid"}
    files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
    options = [f"--{option}={folder / name}" for option, name in files.items()]
    try:
        # The folder is private, which munged calls insecure for a cluster's socket.
        cluster.start(str(found["munged"]), "--foreground", "--force", *options)
        _wait(cluster, ["munge", "--socket", str(folder / "munge.sock"), "--no-input"], "MUNGE")
        cluster.start(str(found["slurmctld"]), "-D", "-f", cluster.config)
        cluster.start(str(found["slurmd"]), "-D", "-f", cluster.config, "-N", host)
        _wait(cluster, ["sinfo", "--noheader", "--format=%T"], "idle")
        yield cluster
    finally:
        if len(cluster.daemons) == 3:
            subprocess.run(
                ["scancel", f"--user={getpass.getuser()}"],
                env=os.environ | {"SLURM_CONF": cluster.config},
                check=False,
                capture_output=True,
                timeout=30,
            )
            time.sleep(1)
        for daemon in cluster.daemons[::-1]:
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
