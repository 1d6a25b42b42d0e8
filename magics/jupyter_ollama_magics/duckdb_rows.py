"""Functions of SQL for DuckDB that apply the row operators to columns of Arrow."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from . import accessor
from .failures import OllamaMagicsError

AT_ONCE = 2
"""Calls at a time. DuckDB's threads bring 2,048 rows each; the second call uses the slots of the
server that the last rows of the first one leave idle."""

SHOWN = 40
"""Characters of a row's text in an error."""

Column = Any
"""An array of Arrow, which has no types."""


@dataclass(frozen=True)
class SqlFunction:
    """A function of SQL: ``usage`` shows its arguments, ``own`` is the number before the model.

    ``run`` returns the results of texts, from the rows of pandas, the arguments between the text
    and the model, and the model. ``kind`` is the type of the result in Arrow.
    """

    usage: str
    own: int
    run: Callable[..., Column]
    kind: Any
    at: Callable[[pd.Series], accessor.SeriesRows]
    model: str | None
    _free: threading.Semaphore = field(default_factory=partial(threading.Semaphore, AT_ONCE))

    def __call__(self, *columns: Column) -> Column:
        """Return the result of each row: NULL where the text or an argument is NULL.

        Rows with the same arguments are one call. Raises OllamaMagicsError.
        """
        import pyarrow as pa  # type: ignore[import-untyped]

        if len(columns) not in (self.own + 1, self.own + 2):
            raise OllamaMagicsError(f"The arguments are {self.usage}.")
        texts, *given = (column.to_pylist() for column in columns)
        places: dict[tuple[Any, ...], list[int]] = {}
        for place, arguments in enumerate(zip(*given, strict=True) if given else [()] * len(texts)):
            if None not in arguments:
                key = tuple(tuple(one) if isinstance(one, list) else one for one in arguments)
                places.setdefault(key, []).append(place)
        parts: list[Column] = [pa.nulls(0, self.kind)]
        found: list[int | None] = [None] * len(texts)
        done = 0
        for arguments, some in places.items():
            parts.append(self._part([texts[place] for place in some], *arguments))
            for place in some:
                found[place] = done
                done += 1
        return pa.concat_arrays(parts).take(pa.array(found, pa.int64()))

    def _part(self, texts: list[Any], *arguments: Any) -> Column:
        own, named = arguments[: self.own], arguments[self.own :]
        # The label of a row is what an error shows.
        rows = pd.Series(texts, index=[str(text)[:SHOWN] for text in texts], dtype=object)
        with self._free:
            try:
                return self.run(self.at(rows), *own, named[0] if named else self.model)
            except OllamaMagicsError as error:
                text = " ".join(str(error).split()).replace(' or "column" continues', " continues")
                raise OllamaMagicsError(text) from None


def duckdb_functions(
    connection: Any,
    *,
    model: str | None = None,
    embed_model: str | None = None,
    dimensions: int | None = None,
    at: Sequence[str] = (),
    token_variable: str | None = None,
    errors: str = "raise",
    cache: bool | str | Path = False,
) -> None:
    """Add functions to a connection of DuckDB that apply models to the rows of a query.

    They are ``ollama_chat(prompt)``, ``ollama_classify(text, labels)``, ``ollama_extract(text,
    schema)`` and ``ollama_embed(text)``. The name of a model may be one more argument. Labels are a
    list, a schema is a text with a JSON schema. NULL gives NULL.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        The connection. Functions of an earlier call are replaced.
    model, embed_model : str, optional
        The models of calls that name none; by default the models of ``%ollama use``, else the
        only ones on the server.
    dimensions : int, optional
        The length of the vectors: ``ollama_embed`` then returns ``FLOAT[dimensions]``, which the
        functions of arrays take, else ``FLOAT[]``.
    at : sequence of str
        The addresses of servers that share the rows.
    token_variable : str, optional
        The environment variable with the token of all servers in ``at``.
    errors : {"raise", "coerce"}
        Whether a row that fails is an error of the query or gives NULL.
    cache : bool, str or Path
        Keep the answers in a file, as the operators do.

    Raises
    ------
    OllamaMagicsError
        If pyarrow is not installed or an argument is invalid.

    Examples
    --------
    >>> import duckdb
    >>> with duckdb.connect() as connection:
    ...     duckdb_functions(connection, embed_model="all-minilm", dimensions=384)
    ...     query = "SELECT len(ollama_embed(text)::FLOAT[]) FROM unnest(['a cat', NULL]) t(text)"
    ...     connection.sql(query).fetchall()
    [(384,), (None,)]
    """
    if not hasattr(connection, "create_function"):
        raise OllamaMagicsError("The connection is one of DuckDB, such as duckdb.connect().")
    if errors not in ("raise", "coerce"):
        raise OllamaMagicsError('errors is "raise" or "coerce".')
    if not find_spec("pyarrow"):
        raise OllamaMagicsError(
            "The functions need pyarrow: pip install 'jupyter-ollama-magics[duckdb]'."
        )
    import pyarrow as pa

    def placed(rows: pd.Series) -> accessor.SeriesRows:
        found = accessor.SeriesRows(rows)
        return found.at(*at, token_variable=token_variable) if at else found

    more = {"errors": errors, "cache": cache}
    vector = pa.list_(pa.float32(), dimensions or -1)
    functions = {
        "chat": ("prompt", partial(_chat, more), pa.string(), "VARCHAR"),
        "classify": ("text, labels", partial(_classify, more), pa.string(), "VARCHAR"),
        "extract": ("text, schema", partial(_extract, more), pa.string(), "VARCHAR"),
        "embed": ("text", partial(_embed, more, vector), vector, f"FLOAT[{dimensions or ''}]"),
    }
    for name, (arguments, run, kind, returned) in functions.items():
        chosen = embed_model if name == "embed" else model
        usage = f"ollama_{name}({arguments} [, model])"
        function = SqlFunction(usage, arguments.count(","), run, kind, placed, chosen)
        with suppress(Exception):  # there is none of an earlier call
            connection.remove_function(f"ollama_{name}")
        connection.create_function(
            f"ollama_{name}", function, None, returned, type="arrow", null_handling="special"
        )


More = dict[str, Any]


def _chat(more: More, rows: accessor.SeriesRows, model: str | None) -> Column:
    return _strings(rows.plan("chat", model=model, **more).run(progress=False))


def _classify(
    more: More, rows: accessor.SeriesRows, labels: Sequence[str], model: str | None
) -> Column:
    return _strings(rows.plan("classify", labels, model=model, **more).run(progress=False))


def _extract(more: More, rows: accessor.SeriesRows, schema: str, model: str | None) -> Column:
    import pyarrow as pa

    try:
        format = json.loads(schema)
    except ValueError as error:
        raise OllamaMagicsError(f"The schema of ollama_extract is not JSON: {error}.") from None
    made = rows.plan("extract", format, model=model, **more).run(progress=False)
    missing = made.isna().all(axis=1)
    lines = made.reset_index(drop=True).to_json(
        orient="records", lines=True, date_format="iso", force_ascii=False
    )
    texts = zip(lines.splitlines(), missing, strict=True)
    return pa.array([None if is_missing else line for line, is_missing in texts], pa.string())


def _embed(more: More, kind: Any, rows: accessor.SeriesRows, model: str | None) -> Column:
    import pyarrow as pa

    size = kind.list_size if pa.types.is_fixed_size_list(kind) else None
    made = rows.plan("embed", dimensions=size, model=model, **more).run(progress=False)
    if made.isna().all():
        return pa.nulls(len(made), kind)
    return pa.chunked_array(pa.array(made)).combine_chunks().cast(kind)


def _strings(made: pd.Series) -> Column:
    import pyarrow as pa

    values = made.astype(object)
    return pa.array(values.where(values.notna(), None).tolist(), pa.string())
