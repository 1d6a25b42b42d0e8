"""The index of finished wheels that llama-cpp-python's project publishes.

JUPYTER_OLLAMA_WHEELS=off keeps this from being asked; it may also name one variant of the index
(cpu, cu124, metal, vulkan …) or the address of another index.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from jupyter_ollama.backends.command_log import say

INDEX = "https://abetlen.github.io/llama-cpp-python/whl"
"""As its README documents it: one index for each kind of device below this address."""

CUDA = ((13, 2), (13, 0), (12, 5), (12, 4), (12, 3), (12, 2), (12, 1), (11, 8))
"""The versions of CUDA that it has variants for. A driver runs programs of older versions too."""

PATIENCE = 5.0
"""Seconds for an answer of the index."""


def addresses(release: str) -> Iterator[str]:
    """Yield the addresses of the indexes that list a release, the fastest device first."""
    setting = os.environ.get("JUPYTER_OLLAMA_WHEELS", "").strip()
    if setting == "off" or os.environ.get("PIP_NO_INDEX"):
        return
    if "://" in setting:
        asked = [setting.rstrip("/")]
    else:
        asked = [f"{INDEX}/{variant}" for variant in ([setting] if setting else variants())]
    host = asked[0].split("/")[2]
    say(f"Asking {host}, which JUPYTER_OLLAMA_WHEELS=off prevents")
    has_cuda = False
    for address in asked:
        is_cuda = "/cu" in address
        if is_cuda and has_cuda:
            continue  # what keeps one of them from loading keeps all of them
        try:
            with urllib.request.urlopen(f"{address}/llama-cpp-python/", timeout=PATIENCE) as page:
                listed = page.read().decode(errors="replace")
        except urllib.error.HTTPError:
            continue  # there is no such variant now
        except OSError as error:
            say(f"It does not answer: {getattr(error, 'reason', error)}")
            return
        if f"llama_cpp_python-{release}-" in listed:
            has_cuda = has_cuda or is_cuda
            yield address


def variants() -> list[str]:
    """Return the variants for this host, the best first."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return ["metal", "cpu"]
    found = [f"cu{major}{minor}" for major, minor in CUDA if (major, minor) <= cuda_of_driver()]
    return [*found, "cpu"]


def cuda_of_driver() -> tuple[int, int]:
    """Return the newest version of CUDA that NVIDIA's driver runs, (0, 0) without a driver."""
    if shutil.which("nvidia-smi") is None:
        return (0, 0)
    try:
        done = subprocess.run(
            ["nvidia-smi"], capture_output=True, text=True, timeout=30, check=False
        )
    except subprocess.TimeoutExpired:
        return (0, 0)
    stated = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", done.stdout)
    return (int(stated[1]), int(stated[2])) if stated else (0, 0)
