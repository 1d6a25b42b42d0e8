"""What ggml's CUDA backend is built with: CUDA's toolkit, and the devices that it is built for."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import cuda_packages
from .build_tools import Toolchain
from .command_log import Failure, say

USUAL_TOOLKIT = Path("/usr/local/cuda")
QUERY_SECONDS = 60
"""How long nvidia-smi may take: without its daemon it initializes every device."""

CACHE_TYPES = ("f16-f16", "q8_0-q8_0", "q4_0-q4_0")
"""Types of keys and values for which flash attention is compiled: what a KV cache may have here."""

SETTINGS = {
    "GGML_CUDA_FA": "ON",
    "GGML_CUDA_FA_QUANTS": ";".join(CACHE_TYPES),
    "GGML_CUDA_GRAPHS": "ON",
    "GGML_CUDA_NCCL": "OFF",
    "GGML_CUDA_COMPRESSION_MODE": "size",
}
"""ggml's own project gives these their values; its folder for CUDA alone has no defaults."""

ARCHITECTURE = "CMAKE_CUDA_ARCHITECTURES"

ADVICE = """\
State what to build for, for instance
    jupyter ollama install-backend cuda -- -DCMAKE_CUDA_ARCHITECTURES=90
The number is the compute capability of the device without its point: 75 for T4, 80 for A100, 86 for
RTX 3090, 89 for L4 and RTX 4090, 90 for H100 and H200, 100 for B200, 120 for RTX 5090."""


@dataclass(frozen=True)
class Device:
    """A device of NVIDIA: its architecture, such as 90, and its driver's branch, such as 580."""

    architecture: int
    driver: int


def prepare_cuda(log: Path, environment: dict[str, str], options: Sequence[str] = ()) -> Toolchain:
    """Return CUDA's toolkit: of this host, else of the package index, for the devices of this host.

    ``options`` are arguments for CMake, which may state the architecture. Raises Failure.
    """
    architectures = choose_architectures(environment, options)
    libraries: tuple[Path, ...] = ()
    if nvcc := find_nvcc(environment):
        say(f"Taking CUDA's compiler {nvcc}")
        root = nvcc.parent.parent
    else:
        cuda_packages.check_platform()
        stated = bool(stated_architectures(environment, options))
        check_devices(find_devices(environment), stated)
        root = cuda_packages.fetch_toolkit(log, environment)
        nvcc = root / "bin" / "nvcc"
        libraries = tuple(root / "lib" / name for name in cuda_packages.RUNTIME_LIBRARIES)
    folders = [] if libraries else library_folders(root)
    settings = {
        **SETTINGS,
        "CUDAToolkit_ROOT": str(root),
        "CMAKE_CUDA_COMPILER": str(nvcc),
        "CMAKE_INSTALL_RPATH": ";".join(["$ORIGIN", *map(str, folders)]),
        "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
        ARCHITECTURE: architectures,
    }
    arguments = tuple(f"-D{name}={value}" for name, value in settings.items())
    return Toolchain(arguments=arguments, libraries=libraries)


def find_nvcc(environment: dict[str, str]) -> Path | None:
    """Return the host's nvcc: of CUDACXX, CUDA_HOME, CUDA_PATH, the search path, the usual folder.

    None without one. Raises Failure if a variable names what does not exist.
    """
    path = environment.get("PATH", "")
    if stated := environment.get("CUDACXX"):
        found = shutil.which(stated, path=path)
        if found is None:
            raise Failure(f"CUDACXX is {stated}, which is no program.")
        return Path(found)
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if folder := environment.get(variable):
            nvcc = Path(folder, "bin", "nvcc")
            if not nvcc.exists():
                raise Failure(
                    f"{variable} is {folder}, which has no bin/nvcc. Correct or unset it."
                )
            return nvcc
    if found := shutil.which("nvcc", path=path):
        return Path(found)
    usual = USUAL_TOOLKIT / "bin" / "nvcc"
    return usual if usual.exists() else None


def library_folders(root: Path) -> list[Path]:
    """Return the folders with CUDA's runtime in a toolkit of the host.

    The host's linker need not know them, so the backend names them itself.
    """
    names = ("lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "lib")
    return [root / name for name in names if any((root / name).glob("libcudart.so.*"))]


def find_devices(environment: dict[str, str]) -> list[Device]:
    """Return the devices that nvidia-smi lists, none without it or without a driver."""
    program = shutil.which("nvidia-smi", path=environment.get("PATH", ""))
    if program is None:
        return []
    command = [program, "--query-gpu=compute_cap,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    # "9.0, 580.65.06"; a device that is lost has words in place of numbers.
    rows = re.findall(r"^\s*(\d+)\.(\d),\s*(\d+)\.", done.stdout, re.MULTILINE)
    return [Device(int(major + minor), int(driver)) for major, minor, driver in rows]


def choose_architectures(environment: dict[str, str], options: Sequence[str] = ()) -> str:
    """Return the architectures to build for, for CMake: stated, or of the devices here.

    Raises Failure without either: ggml's default, seven architectures, takes seven times as long.
    """
    if stated := stated_architectures(environment, options):
        return stated
    found = sorted({device.architecture for device in find_devices(environment)})
    if not found:
        raise Failure(f"nvidia-smi lists no device on this host.\n{ADVICE}")
    # A newer device compiles the PTX of the newest one; machine code alone would end its process.
    return ";".join([*(f"{one}-real" for one in found[:-1]), str(found[-1])])


def stated_architectures(environment: dict[str, str], options: Sequence[str]) -> str:
    """Return the architectures that the user states, for CMake; empty without a statement."""
    prefix = re.compile(rf"-D{ARCHITECTURE}(:\w+)?=")
    for option in reversed(options):
        if found := prefix.match(option):
            return option[found.end() :]
    return environment.get("CUDAARCHS", "")


def check_devices(devices: list[Device], stated: bool) -> None:
    """Raise Failure if this host's devices cannot run what the index's toolkit compiles.

    ``stated`` architectures may be for another host: only the driver is checked then.
    """
    oldest = cuda_packages.OLDEST_DRIVER
    for device in devices:
        if device.driver < oldest:
            raise Failure(
                f"NVIDIA's driver is of branch {device.driver}, and CUDA 13, whose compiler the "
                f"package index has, needs {oldest} or newer. Update the driver, or install CUDA's "
                "toolkit 12 and set CUDA_HOME."
            )
        if not stated and device.architecture < cuda_packages.OLDEST_ARCHITECTURE:
            raise Failure(
                f"A device here has compute capability {device.architecture / 10}, for which CUDA "
                "13 does not compile. Install CUDA's toolkit 12 and set CUDA_HOME, or state the "
                f"architecture of another device:\n{ADVICE}"
            )
