"""Have ``.ollama`` on Series and DataFrames of pandas and Dask, without importing them for it.

Registering an accessor needs the library, whose import takes longer than loading the magics may. So
it waits for the import that the user's own code makes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_ACCESSORS = {"pandas": ".accessor", "dask.dataframe": ".dask_frame"}


class _AtImport(MetaPathFinder):
    """Finds nothing itself: it adds a step to the end of an import that the others find."""

    def __init__(self) -> None:
        self.awaited: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.awaited:
            return None
        self.awaited.remove(name)
        if not self.awaited:
            remove()
        spec = find_spec(name)
        loader = spec.loader if spec else None
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _register(name)

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Register the accessors now if their library is imported, else when it will be."""
    for name in _ACCESSORS:
        if name in sys.modules:
            _register(name)
        else:
            _hook.awaited.add(name)
    if _hook.awaited and _hook not in sys.meta_path:
        sys.meta_path.insert(0, _hook)


def remove() -> None:
    """Wait for no import any longer."""
    _hook.awaited.clear()
    if _hook in sys.meta_path:
        sys.meta_path.remove(_hook)


def _register(name: str) -> None:
    import_module(_ACCESSORS[name], __package__)


_hook = _AtImport()
