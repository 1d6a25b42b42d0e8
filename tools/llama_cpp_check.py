"""Load the llama-cpp-python of a wheel and print, as JSON, how it differs from the tested one.

    python tools/llama_cpp_check.py llama_cpp_python-0.3.36-py3-none-any.whl

The interpreter has what llama-cpp-python depends on. It runs in a process of its own: a faulty
build may end it.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("llama_cpp.llama_cpp", "llama_cpp.mtmd_cpp")


def main() -> None:
    """Print the faults and the backends of the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(sys.argv[1]) as wheel:
            wheel.extractall(folder)
        sys.path[:0] = [folder, str(ROOT / "magics"), str(ROOT)]
        if not Path(folder, "llama_cpp", "__init__.py").exists():
            raise ImportError("it contains no llama_cpp")
        from jupyter_ollama.engine.build_report import build_report

        report = build_report()
        faults = [*report["faults"], *missing_names()]
    sys.stdout.write(json.dumps({"faults": faults, "backends": report["backends"]}) + "\n")


def missing_names() -> Iterator[str]:
    """Yield a fault for each name that the engine uses of llama_cpp and llama_cpp lacks."""
    used = set()
    for path in (ROOT / "jupyter_ollama").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        aliases = {
            name.asname: name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for name in node.names
            if name.name in MODULES
        }
        # Annotations also name types that exist for type checkers only.
        hints = {
            id(part)
            for node in ast.walk(tree)
            for hint in (getattr(node, "annotation", None), getattr(node, "returns", None))
            if hint is not None
            for part in ast.walk(hint)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            if node.value.id in aliases and id(node) not in hints:
                used.add((aliases[node.value.id], node.attr))
    for module, name in sorted(used):
        if not hasattr(import_module(module), name):
            yield f"{module}.{name} is missing"


if __name__ == "__main__":
    main()
