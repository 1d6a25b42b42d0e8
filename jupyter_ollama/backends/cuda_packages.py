"""CUDA's compiler, headers and libraries from NVIDIA's packages on the package index.

pip unpacks the packages into a folder of the cache, so that no environment has them. Links and one
library complete that folder to what CMake expects of a toolkit.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import sys
from pathlib import Path

from .build_cache import CACHE
from .build_log import explain
from .command_log import Failure, run_logged, say

PACKAGES = {
    "nvidia-cuda-nvcc==13.0.88": (
        "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03",
        "c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f",
    ),
    "nvidia-nvvm==13.0.88": (
        "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0",
        "c4376a291d72d22a315d9d2f69bdae8f8cd83a627f75bad395cee49a0fe65dc1",
    ),
    "nvidia-cuda-crt==13.0.88": (
        "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4",
        "ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003",
    ),
    "nvidia-cuda-cccl==13.0.85": (
        "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649",
        "6f0203e29fed809ee2b7fe9b1344df66ecab990c37d6a2e0e189b26d6c97ed7c",
    ),
    "nvidia-cuda-runtime==13.0.96": (
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
    ),
    "nvidia-cublas==13.0.2.14": (
        "0cf238ffdbe46c00cb9aa98e7bca745c223a5ca5a53e686ac8b3e5a08fe80d6c",
        "17165c296de689662b96e0ef4f21dfbff3092ff00d0e3e59470f5acb08c0f87d",
    ),
}
"""Each package with its SHA-256 for x86_64 and for aarch64.

The packages for CUDA 12 lack nvcc itself. Of CUDA 13, the oldest release runs with most drivers.
"""

DOWNLOAD_MB = 525
"""The packages; unpacked they are 875 MB, of which cuBLAS is 595 MB."""

OLDEST_DRIVER = 580
"""The branch of NVIDIA's driver that CUDA 13 needs."""

OLDEST_ARCHITECTURE = 75
"""CUDA 13 compiles for Turing and newer devices."""

MACHINES = ("x86_64", "aarch64")
RUNTIME_LIBRARIES = ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13")
NEEDED = ("bin/nvcc", "nvvm/bin/cicc", "include/cuda.h", "include/cublas_v2.h")
"""Files without which the packages are not laid out as this module knows them."""


def check_platform() -> None:
    """Raise Failure where NVIDIA has no such packages."""
    if platform.system() != "Linux" or platform.machine() not in MACHINES:
        raise Failure(
            "NVIDIA's packages of CUDA's compiler are for Linux on x86_64 and aarch64, and this is "
            f"{platform.system()} on {platform.machine()}. CUDA_HOME names a toolkit of your own."
        )


def fetch_toolkit(log: Path, environment: dict[str, str]) -> Path:
    """Return the toolkit in the cache, which is fetched if it is missing. Raises Failure."""
    table = "".join(f"{name} {hashes}" for name, hashes in PACKAGES.items())
    key = hashlib.sha256(table.encode()).hexdigest()[:12]
    folder = CACHE / "tools" / f"cuda-{key}"
    if not folder.exists():
        say(f"Fetching CUDA's compiler from the package index, {DOWNLOAD_MB} MB")
        new = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            _unpack(new, log, environment)
            _complete(new / "nvidia" / "cu13", log, environment)
            new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder / "nvidia" / "cu13"


def _unpack(folder: Path, log: Path, environment: dict[str, str]) -> None:
    """Let pip unpack exactly the packages of the table."""
    folder.mkdir(parents=True)
    listed = folder / "requirements.txt"
    listed.write_text(
        "".join(
            f"{name} " + " ".join(f"--hash=sha256:{one}" for one in hashes) + "\n"
            for name, hashes in PACKAGES.items()
        )
    )
    command = [sys.executable, "-m", "pip", "install", "--target", str(folder), "--no-deps"]
    # Without its cache, pip does not keep half a gigabyte a second time.
    command += ["--require-hashes", "--only-binary", ":all:", "--no-compile", "--no-cache-dir"]
    command += ["--progress-bar", "off", "-r", str(listed)]
    if run_logged(command, log, lambda line: None, environment) != 0:
        raise Failure(f"CUDA's compiler cannot be fetched.\n{explain(log)}")


def _complete(root: Path, log: Path, environment: dict[str, str]) -> None:
    """Add what a toolkit has beyond the packages: names for the linker, and the driver's stub."""
    libraries = [f"lib/{name}" for name in RUNTIME_LIBRARIES]
    missing = [name for name in (*NEEDED, *libraries) if not (root / name).exists()]
    if missing:
        raise Failure(f"NVIDIA's packages lack {', '.join(missing)}.")
    for name in RUNTIME_LIBRARIES:
        (root / "lib" / name.removesuffix(".13")).symlink_to(name)
    (root / "lib64").symlink_to("lib")
    write_driver_stub(root, log, environment)


def write_driver_stub(root: Path, log: Path, environment: dict[str, str]) -> None:
    """Make lib/stubs/libcuda.so of a toolkit, which a backend is linked to in place of the driver.

    The driver's own libcuda.so.1 belongs to hosts with a device. Linked to that name, a backend is
    refused where there is no driver, before it takes memory. Raises Failure.
    """
    header = (root / "include" / "cuda.h").read_text("utf-8", errors="replace")
    # Names in comments as well: a function too many is no harm in a stub.
    names = sorted(set(re.findall(r"\bcu[A-Z]\w*", header)))
    folder = root / "lib" / "stubs"
    folder.mkdir()
    source = folder / "libcuda.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in names))
    compiler = shlex.split(environment.get("CC") or os.environ.get("CC") or "cc")
    command = [*compiler, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libcuda.so.1"]
    command += ["-o", str(folder / "libcuda.so"), str(source)]
    if run_logged(command, log, lambda line: None, environment) != 0:
        raise Failure(f"The stub of NVIDIA's driver cannot be compiled.\n{explain(log)}")
