"""`jupyter ollama install-backend`: adds a GPU to the llama.cpp of this environment."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from jupyter_ollama_client.readable import size

from .command import Command, CommandError, say


class InstallBackendCommand(Command):
    """jupyter ollama install-backend"""

    name = "jupyter-ollama-install-backend"
    verb = "install-backend"
    description = (
        "Build a backend of ggml for a GPU and install it into this environment, so that models\n"
        "run on the GPU. llama.cpp itself stays as it is. Builds are kept: a second environment\n"
        "gets the backend at once."
    )
    epilog = """\
vulkan needs the packages glslc, libvulkan-dev and spirv-headers of the system (Debian's names),
and a driver with Vulkan when models run.
cuda needs the driver of NVIDIA when models run. Without CUDA's toolkit on this host, the compiler
is fetched from NVIDIA's packages on the package index (525 MB).

Arguments after -- go to CMake:
    jupyter ollama install-backend cuda -- -DCMAKE_CUDA_ARCHITECTURES=90"""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the backend and the folder for it."""
        from ..backends.build import RECIPES

        parser.add_argument("backend", choices=sorted(RECIPES))
        parser.add_argument(
            "--folder",
            type=Path,
            help="not the one where servers of this environment look",
        )
        parser.add_argument("options", nargs="*", metavar="-- OPTION", help="arguments for CMake")

    def run(self, arguments: argparse.Namespace) -> None:
        """Install the backend, then load it in another process and print its devices."""
        from ..backends.build import install_backend
        from ..backends.command_log import Failure
        from ..backends.folders import install_folder

        folder = (arguments.folder or install_folder()).absolute()
        try:
            path = install_backend(arguments.backend, folder, arguments.options)
        except Failure as failure:
            raise CommandError(str(failure)) from failure
        say(f"Installed {path}")
        say(_result(path))


def _result(path: Path) -> str:
    """Return what llama.cpp makes of a backend."""
    from ..engine.device_list import UnusableBuild, build_report

    try:
        report = asyncio.run(build_report([str(path)]))
    except UnusableBuild as failure:
        raise CommandError(f"llama.cpp cannot load the backend: {failure}") from failure
    (backend,) = (one for one in report["dynamic"] if one["path"] == str(path.resolve()))
    if backend["fault"]:
        return f"It cannot be used yet: {backend['fault']}. Models run on the CPU."
    gpus = (device for device in report["devices"] if not device["is_cpu"])
    listed = ", ".join(f"{gpu['name']} with {size(gpu['total'])}" for gpu in gpus)
    return f"Models run on {listed}. Restart the servers that are running."
