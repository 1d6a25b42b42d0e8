"""The folders in which backends are found and installed: Jupyter's data folders."""

from __future__ import annotations

import os
from pathlib import Path

from jupyter_core.paths import ENV_JUPYTER_PATH, jupyter_data_dir, jupyter_path

PARTS = ("ollama", "backends")


def default_folders() -> list[str]:
    """Return the existing folders of backends: of the user, of this environment, of the host."""
    return [folder for folder in jupyter_path(*PARTS) if Path(folder).is_dir()]


def install_folder() -> Path:
    """Return the folder of this environment, or the user's where that cannot be written.

    A backend fits one release of llama-cpp-python, which belongs to an environment.
    """
    environment = Path(ENV_JUPYTER_PATH[0])
    parent = next(folder for folder in (environment, *environment.parents) if folder.exists())
    data = environment if os.access(parent, os.W_OK) else Path(jupyter_data_dir())
    return data.joinpath(*PARTS)
