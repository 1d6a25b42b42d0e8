"""Make an index of a column, or open one that another kernel has made."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd

from ..failures import OllamaMagicsError
from ..prefixes import check_kind
from ..servers import Servers
from .build import Builder, Wanted
from .index import SearchIndex
from .index_file import IndexFile

CHUNK_TOKENS, OVERLAP = 256, 32


def build(
    frame: pd.DataFrame,
    column: pd.Series,
    path: str | Path | None,
    servers: Callable[[], Servers],
    **how: Any,
) -> SearchIndex:
    """Return the index of a column, made or brought up to date."""
    wanted = Wanted(column=str(column.name), **how)
    sizes = (wanted.chunk_tokens, wanted.overlap)
    if not all(isinstance(size, Integral) for size in sizes) or not 0 <= sizes[1] < sizes[0]:
        raise OllamaMagicsError("chunk_tokens is a positive integer, and overlap a smaller one.")
    for prefix in (wanted.query_prefix, wanted.document_prefix):
        check_kind(None, prefix)
    file = IndexFile(None if path is None else _absolute(path))
    builder = Builder(file, servers(), wanted)
    index = SearchIndex(file, servers, builder.update(frame, column), wanted)
    index.embedded = builder.embedded
    return index


def opened(path: str | Path) -> SearchIndex:
    """Return the index of a file. Raises OllamaMagicsError if it has none."""
    file = IndexFile(_absolute(path))
    settings = file.settings()
    if settings is None:
        raise OllamaMagicsError(f"{path} has no index: df.ollama.index makes one.")
    file.generation()
    return SearchIndex(file, Servers.find, settings)


def _absolute(path: Any) -> Path:
    if not isinstance(path, str | Path):
        raise OllamaMagicsError(f"path is the name of a file, not {type(path).__name__}.")
    return Path(path).expanduser().absolute()
