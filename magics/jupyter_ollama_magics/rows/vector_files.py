"""Columns of vectors in Parquet, Feather and CSV files.

Parquet and Feather files name the dtype of each column. pandas writes the name of fixed-size lists
of Arrow, ``fixed_size_list<item: float>[384][pyarrow]``, but cannot read it.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, Self, cast

import pandas as pd

_NAME = re.compile(
    r"fixed_size_list<(?:item|element): (?P<number>float|double|halffloat)(?: not null)?>"
    r"\[(?P<size>\d+)\]\[pyarrow\]"
)
_VECTOR_TEXT = re.compile(
    r"\s*(?:array\()?[\[(][-+\d.eE,\s]*\d[-+\d.eE,\s]*(?:\.\.\.[^\])]*)?[\])](?:, dtype=\w+\))?\s*"
)


class VectorDtype(pd.api.extensions.ExtensionDtype):
    """Resolves the names of vector dtypes to ArrowDtype; no column has this dtype itself."""

    name = "ollama vectors"
    type = list

    @classmethod
    def construct_from_string(cls, string: str) -> Self:
        """Return the ArrowDtype with the name ``string``. Raises TypeError for other dtypes."""
        found = _NAME.fullmatch(string)
        if found is None:
            raise TypeError(f"Cannot construct a column of vectors from {string!r}")
        import pyarrow as pa  # type: ignore[import-untyped]

        numbers = {"float": pa.float32(), "double": pa.float64(), "halffloat": pa.float16()}
        dtype = pd.ArrowDtype(pa.list_(numbers[found["number"]], int(found["size"])))
        return cast("Self", dtype)


def register() -> None:
    """Have pandas read columns of vectors from Parquet and Feather files.

    pandas tries its dtypes in the order of registration and stops at ArrowDtype, which raises
    NotImplementedError for these names. VectorDtype has to come first, which
    ``pandas.api.extensions.register_extension_dtype`` cannot do, so this function inserts it into
    the private registry. Without the registry, vectors are written but not read.
    """
    dtypes = registered_dtypes()
    if dtypes is not None and VectorDtype not in dtypes:
        dtypes.insert(0, VectorDtype)


def registered_dtypes() -> list[Any] | None:
    """Return the list of dtypes that pandas tries, None if this pandas does not have it.

    The only use of a private name of pandas: ``_registry`` or ``registry``, by version.
    """
    base = import_module("pandas.core.dtypes.base")
    registry = getattr(base, "_registry", None) or getattr(base, "registry", None)
    dtypes = getattr(registry, "dtypes", None)
    return dtypes if isinstance(dtypes, list) else None


def is_vector_text(text: str) -> bool:
    """Return whether a text is a vector as CSV files hold it."""
    return bool(_VECTOR_TEXT.fullmatch(text)) and text.count(" ") + text.count(",") > 0
