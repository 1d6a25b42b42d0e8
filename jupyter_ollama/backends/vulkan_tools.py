"""What ggml's Vulkan backend is built with: the compiler of its shaders, and headers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from .build_tools import Toolchain
from .command_log import Failure

HEADERS = ("vulkan/vulkan.hpp", "spirv/unified1/spirv.hpp")
FOLDERS = ("/usr/include", "/usr/local/include", "/opt/homebrew/include")

ADVICE = """\
    Debian, Ubuntu:  sudo apt-get install glslc libvulkan-dev spirv-headers
    Fedora:          sudo dnf install glslc vulkan-loader-devel spirv-headers-devel
    macOS:           brew install shaderc vulkan-headers vulkan-loader spirv-headers
Or install the Vulkan SDK and set VULKAN_SDK."""


def prepare_vulkan(log: Path, environment: dict[str, str], options: Sequence[str]) -> Toolchain:
    """Check that the compiler of shaders and the headers are there. Raises Failure."""
    sdk = environment.get("VULKAN_SDK")
    folders = [Path(sdk, "include")] if sdk else []
    folders += map(Path, FOLDERS)
    missing = [
        header for header in HEADERS if not any((folder / header).exists() for folder in folders)
    ]
    path = environment.get("PATH", "")
    if not shutil.which("glslc", path=f"{sdk}/bin:{path}" if sdk else path):
        missing.insert(0, "glslc")
    if missing:
        raise Failure(f"The Vulkan backend cannot be built without {', '.join(missing)}.\n{ADVICE}")
    return Toolchain()
