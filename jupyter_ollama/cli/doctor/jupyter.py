"""Checks of Jupyter: the server extension, the extension of JupyterLab, and the kernels."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_config_path, jupyter_path
from jupyter_server.extension.config import ExtensionConfigManager

from .finding import Finding, Level, error, note, ok
from .software import installed, pip

SERVER_EXTENSION = "jupyter_ollama"
LAB_EXTENSION = "jupyter-ollama"
MAGICS = "jupyter_ollama_magics"
PATIENCE = 60.0
"""Seconds until a kernel's interpreter has imported the magics."""


def findings() -> Iterator[Finding]:
    """Yield the findings about Jupyter."""
    yield server_extension()
    yield lab_extension()
    yield from kernels()


def server_extension() -> Finding:
    """Look whether Jupyter's configuration enables the server extension."""
    manager = ExtensionConfigManager(read_config_path=jupyter_config_path())
    enabled = manager.get_jpserver_extensions().get(SERVER_EXTENSION)
    if enabled:
        return ok("Server extension", "enabled")
    text = "is not enabled" if enabled is None else "is disabled in Jupyter's configuration"
    advice = f"jupyter server extension enable {SERVER_EXTENSION}"
    return error("Server extension", f"{SERVER_EXTENSION} {text}", advice)


def lab_extension() -> Finding:
    """Look whether JupyterLab finds the extension, and whether it is disabled."""
    if installed("jupyterlab") is None:
        advice = f"For the panels: {pip()} install jupyterlab"
        return note("Lab extension", "JupyterLab is not installed here", advice)
    folders = jupyter_path("labextensions")
    found = [path for folder in folders if (path := Path(folder, LAB_EXTENSION)).exists()]
    if not found:
        advice = f"{pip()} install --force-reinstall --no-deps jupyter-ollama"
        return error("Lab extension", f"{LAB_EXTENSION} is not where JupyterLab looks", advice)
    number = json.loads((found[0] / "package.json").read_text("utf-8")).get("version")
    if off := disabled_plugins(folders):
        text = f"version {number}, disabled: {', '.join(sorted(off))}"
        commands = [f"jupyter labextension enable {name}" for name in sorted(off)]
        return error("Lab extension", text, "\n".join(commands))
    return ok("Lab extension", f"version {number} at {found[0]}")


def disabled_plugins(folders: list[str]) -> set[str]:
    """Return which of the extension and its plugins JupyterLab's page configuration disables."""
    from jupyterlab_server.config import get_page_config

    names: list[str] = get_page_config(folders).get("disabledExtensions", [])
    return {name for name in names if name.partition(":")[0] == LAB_EXTENSION}


def kernels() -> Iterator[Finding]:
    """Yield whether each Python kernel can import the magics. One that can is enough."""
    specs = KernelSpecManager().get_all_specs()
    pythons = {name: one["spec"] for name, one in specs.items() if is_python(one["spec"])}
    if not pythons:
        advice = f"{pip()} install ipykernel"
        yield error("Kernel", "no Python kernel is installed", advice)
    found = [kernel(name, interpreter(spec["argv"][0])) for name, spec in pythons.items()]
    is_any_ready = any(finding.level is Level.OK for finding in found)
    for finding in found:
        yield (
            finding
            if not is_any_ready or not finding.advice
            else note(finding.check, finding.text, finding.advice)
        )


def is_python(spec: dict[str, Any]) -> bool:
    """Return whether a kernel is one of IPython, started by an interpreter."""
    return str(spec.get("language", "")).lower() == "python" and "-m" in spec.get("argv", [])


def interpreter(command: str) -> str:
    """Return the interpreter of a kernel. Jupyter replaces a bare "python" with its own."""
    bare = {"python", f"python{sys.version_info.major}"}
    return sys.executable if command in bare else command


def kernel(name: str, python: str) -> Finding:
    """Import the magics with the interpreter of a kernel."""
    code = f"import {MAGICS}; print({MAGICS}.__version__)"
    try:
        done = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        text = f"{name}: {python} does not run: {fault}"
        return error("Kernel", text, f"jupyter kernelspec remove {name}, or install it again")
    if done.returncode == 0:
        return ok("Kernel", f"{name}: magics {done.stdout.strip()}")
    advice = f"{python} -m pip install jupyter-ollama-magics"
    lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
    missing = f"No module named '{MAGICS}'" in lines[-1]
    reason = "are missing" if missing else f"cannot be imported: {lines[-1]}"
    return error("Kernel", f"{name}: the magics {reason}", advice)
