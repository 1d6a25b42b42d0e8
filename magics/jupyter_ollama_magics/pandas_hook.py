"""Register ``.ollama`` on data of pandas, Dask and Polars without importing the libraries.

Registering an accessor needs the library, whose import takes longer than loading the magics may
take. An import hook registers it when the user's code imports the library.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_ACCESSORS = {
    "pandas": ".accessor",
    "dask.dataframe": ".dask_frame",
    "polars": ".polars_frame",
}


class _ImportHook(MetaPathFinder):
    """Delegates each import to the other finders and registers the accessors after it."""

    def __init__(self) -> None:
        self.pending: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.pending:
            return None
        self.pending.remove(name)
        if not self.pending:
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
    """Register the accessors of imported libraries now, and of others at their import."""
    for name in _ACCESSORS:
        if name in sys.modules:
            _register(name)
        else:
            _hook.pending.add(name)
    if _hook.pending and _hook not in sys.meta_path:
        sys.meta_path.insert(0, _hook)


def remove() -> None:
    """Remove the import hook."""
    _hook.pending.clear()
    if _hook in sys.meta_path:
        sys.meta_path.remove(_hook)


def _register(name: str) -> None:
    import_module(_ACCESSORS[name], __package__)


_hook = _ImportHook()
