"""`jupyter ollama worker`: lend this host's devices to a server on another one."""

from __future__ import annotations

import argparse
import os
import signal
from ipaddress import IPv4Address
from pathlib import Path

from ..backends.folders import default_folders
from .command import Command, CommandError, note

WARNING = """\
Warning: any client that reaches {host}:{port} can read and change the memory of this process, and
perhaps run code in it. llama.cpp's RPC has no users and no encryption. Use a separate network."""


class WorkerCommand(Command):
    """jupyter ollama worker"""

    name = "jupyter-ollama-worker"
    verb = "worker"
    description = (
        "Lend the GPUs of this host, or its CPU and memory if it has none, to a server elsewhere\n"
        "whose own host lacks the memory for a model. It serves one model at a time."
    )
    epilog = """\
Name it in the settings of the server:
    c.OllamaServer.rpc_servers = ["10.1.2.3:50052"]
Both need a llama-cpp-python of the same version, built with CMAKE_ARGS=-DGGML_RPC=on.
There is no login, and nothing is encrypted: keep --host to this machine or a network of its own."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the address to listen at and the memory to lend."""
        parser.add_argument("--host", type=IPv4Address, default=IPv4Address("127.0.0.1"))
        parser.add_argument("--port", type=int, default=50052)
        parser.add_argument(
            "--memory", type=float, default=0, metavar="GIB", help="lend at most so much (all)"
        )
        parser.add_argument(
            "--threads", type=int, default=0, help="threads for the CPU (one a core)"
        )
        parser.add_argument(
            "--cache", type=Path, metavar="FOLDER", help="keep weights here, not to be sent again"
        )

    def run(self, arguments: argparse.Namespace) -> None:
        """Serve until a signal ends the process."""
        from ..engine.runner_process import ENVIRONMENT

        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)  # read when llama.cpp is loaded
        from ..engine.dynamic_backends import load_backends
        from ..engine.llama_model import LoadError
        from ..engine.rpc import serve

        host, port = arguments.host, arguments.port
        if not host.is_loopback:
            note(WARNING.format(host=host, port=port))
        if arguments.cache:
            arguments.cache.mkdir(parents=True, exist_ok=True)
        # llama.cpp does not return to Python, whose own handler would never run.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for backend in load_backends(default_folders()):
            if backend.fault:
                note(f"Warning: the backend {backend.path} is not used: {backend.fault}")
        try:
            serve(
                str(host),
                port,
                memory=int(arguments.memory * 2**30),
                threads=arguments.threads,
                cache=arguments.cache,
            )
        except LoadError as error:
            raise CommandError(str(error)) from error
        raise CommandError(f"cannot listen at {host}:{port}")
