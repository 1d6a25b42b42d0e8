"""Have ``.ollama`` on Series and DataFrames, without importing pandas for it.

Registering an accessor needs pandas, whose import takes longer than loading the magics may. So it
waits for the import that the user's own code makes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


class _AtImportOfPandas(MetaPathFinder):
    """Finds nothing itself: it adds a step to the end of the import that the others find."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "pandas":
            return None
        remove()
        spec = find_spec(name)
        loader = spec.loader if spec else None
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _register()

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Register the accessors now if pandas is imported, else when it will be."""
    if "pandas" in sys.modules:
        _register()
    elif _hook not in sys.meta_path:
        sys.meta_path.insert(0, _hook)


def remove() -> None:
    """Wait for pandas no longer."""
    if _hook in sys.meta_path:
        sys.meta_path.remove(_hook)


def _register() -> None:
    from . import accessor  # noqa: F401


_hook = _AtImportOfPandas()
