"""A wheel of llama-cpp-python, made of the one that is installed."""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from pathlib import Path

import llama_cpp

PACKAGE = Path(llama_cpp.__file__).parent
VERSION = distribution("llama-cpp-python").version
NAME = f"llama_cpp_python-{VERSION}-py3-none-any.whl"


def make_wheel(folder: Path, changes: dict[str, bytes] | None = None) -> Path:
    """Write a wheel of the installed llama_cpp, with other contents of some of its files."""
    changes = changes or {}
    info = f"llama_cpp_python-{VERSION}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / NAME, "w") as wheel:
        for path in PACKAGE.rglob("*"):
            name = path.relative_to(PACKAGE.parent).as_posix()
            if path.is_file() and "__pycache__" not in name:
                wheel.writestr(name, changes.get(name) or path.read_bytes())
        wheel.writestr(f"{info}/METADATA", distribution("llama-cpp-python").read_text("METADATA"))
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder / NAME
