"""Checks of llama.cpp: its build, its devices, and GPUs that it does not use.

llama.cpp is loaded in a process of its own, since a faulty build can end the process.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jupyter_ollama_client.readable import size

from ...engine.device_list import UnusableBuild, build_report
from ...engine.device_variables import effects
from .finding import Finding, error, note, ok
from .software import INSTALL_COMPILER, compiler, installed, pip

VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD"}
"""Makers of GPUs by the PCI identifier of the vendor."""

DISPLAY_CONTROLLER = "0x03"
"""How the PCI class of a GPU begins."""

DRIVERS = {"NVIDIA": "proc/driver/nvidia/version", "AMD": "sys/module/amdgpu"}
"""Files that exist while a driver is loaded, from the root of the file system."""

PARTS_OF_DRIVERS = ("NVIDIA's driver", "the loader of Vulkan")
"""What a backend may lack, in the words of engine/dynamic_backends.py, which loads llama.cpp."""

BACKENDS = {"NVIDIA": "cuda", "AMD": "vulkan"}


def findings(backends: Sequence[str]) -> Iterator[Finding]:
    """Yield the findings about llama.cpp, its dynamic ``backends`` (files, folders), and GPUs."""
    report: dict[str, Any] | None = None
    try:
        report = asyncio.run(build_report(backends))
    except UnusableBuild as failure:
        yield from unusable(str(failure))
    else:
        yield build(report)
        yield from map(dynamic_backend, report["dynamic"])
        yield compiler()
    yield from gpus([] if report is None else report["devices"], Path("/"))


def unusable(failure: str) -> Iterator[Finding]:
    """Yield the findings for a llama.cpp that cannot be loaded."""
    number = installed("llama-cpp-python")
    if number is not None:
        advice = f"{pip()} install --force-reinstall --no-cache-dir llama-cpp-python=={number}"
        yield error("llama.cpp", f"version {number} cannot be loaded: {failure}", advice)
        yield compiler()
        return
    found = compiler()
    if found.advice:
        text = "llama-cpp-python is not installed, and no C++ compiler to build it"
        advice = "Or name a folder with a finished wheel: PIP_FIND_LINKS=FOLDER"
        yield error("llama.cpp", text, f"{INSTALL_COMPILER}\n{advice}")
    else:
        text = "llama-cpp-python is not installed"
        yield error("llama.cpp", text, f"{pip()} install jupyter-ollama")
        yield found


def build(report: dict[str, Any]) -> Finding:
    """Report the version, the backends and the optional features of a build."""
    backends = ", ".join(report["backends"])
    text = f"llama-cpp-python {report['version']}; backends: {backends}"
    if report["faults"]:
        advice = f"If models fail to load: {pip()} install llama-cpp-python=={report['tested']}"
        return note("llama.cpp", f"{text}; {'; '.join(report['faults'])}", advice)
    if "RPC" not in report["backends"]:
        advice = "Only `jupyter ollama worker` needs it: CMAKE_ARGS=-DGGML_RPC=on for a new build"
        return note("llama.cpp", f"{text}; built without RPC", advice)
    return ok("llama.cpp", text)


def dynamic_backend(report: dict[str, Any]) -> Finding:
    """Report a backend that was loaded, or why it was not."""
    path = report["path"]
    if not report["fault"]:
        count = report["devices"]
        return ok("Backend", f"{report['name']}, {count} device{'s' * (count != 1)}: {path}")
    text = f"{path} is not used: {report['fault']}"
    if report["name"] or any(f"needs {one}" in report["fault"] for one in PARTS_OF_DRIVERS):
        return note("Backend", text, "Install the driver of the GPU, if this host has one")
    return note("Backend", text, "jupyter ollama install-backend builds it for this llama.cpp")


def gpus(devices: list[dict[str, Any]], root: Path) -> Iterator[Finding]:
    """Compare the devices that llama.cpp uses with the GPUs of this host, found below ``root``."""
    for device in devices:
        memory = f"{size(device['free'])} of {size(device['total'])} free"
        yield ok("Device", f"{device['name']}, {device['description']}, {memory}")
    for effect in effects():
        yield note("Variable", effect.text) if effect.is_ignored else ok("Variable", effect.text)
    if any(not device["is_cpu"] for device in devices):
        return
    vendors = present_gpus(root)
    if not vendors and not shutil.which("nvidia-smi"):
        advice = "If this host has one, install its driver; then build llama.cpp for it"
        yield note("GPU", "no GPU and no GPU driver found; models run on the CPU", advice)
    for vendor in vendors:
        if not (root / DRIVERS[vendor]).exists():
            advice = f"Install the driver of {vendor}, restart, and run this command again"
            yield error("GPU", f"a GPU of {vendor} is present, but no GPU driver is loaded", advice)
            continue
        advice = f"jupyter ollama install-backend {BACKENDS[vendor]}"
        text = f"llama.cpp does not use the GPU of {vendor}: it has no backend that can"
        yield error("GPU", text, advice)


def present_gpus(root: Path) -> list[str]:
    """Return the makers of the GPUs on the PCI bus of a Linux host, each once."""
    found = set()
    for device in (root / "sys/bus/pci/devices").glob("*"):
        try:
            kind, vendor = ((device / name).read_text().strip() for name in ("class", "vendor"))
        except OSError:
            continue
        # 3D controllers without a display (class 0x0302) count as well.
        if kind.startswith(DISPLAY_CONTROLLER) and vendor in VENDORS:
            found.add(VENDORS[vendor])
    return sorted(found)
