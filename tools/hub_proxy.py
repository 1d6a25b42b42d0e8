"""JupyterHub's proxy, which comes from npm: installed into the environment at its first use."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "configurable-http-proxy@5.3.0"
FOLDER = Path(sys.prefix) / "lib" / PACKAGE


def proxy_command() -> str:
    """Return the path of the command. Raises RuntimeError where it cannot be installed."""
    command = FOLDER / "node_modules" / ".bin" / "configurable-http-proxy"
    if not command.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / "install.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not command.exists():
                _install()
    return str(command)


def _install() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("JupyterHub's proxy needs Node.js and npm: apt-get install npm")
    install = [npm, "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund", PACKAGE]
    run = subprocess.run([*install, "--ignore-scripts"], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"npm could not install {PACKAGE}:\n{run.stderr}")
