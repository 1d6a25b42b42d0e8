"""An index in LanceDB: a table with a record for each chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .export import SETTINGS, asked, described, records, scored

if TYPE_CHECKING:
    import pandas as pd

    from .index import SearchIndex


def add(index: SearchIndex, database: Any, name: str = "ollama") -> Any:
    """Return a new table of LanceDB with the rows, chunks and vectors of an index.

    Parameters
    ----------
    index : SearchIndex
        The index.
    database : lancedb.DBConnection
        The database, as ``lancedb.connect`` returns it.
    name : str
        The name of the table; one that exists is replaced.

    Returns
    -------
    lancedb.table.Table
        The table. Its columns "chunk" and "vector" come after those of the rows.

    Examples
    --------
    >>> import lancedb
    >>> notes = pd.DataFrame({"text": ["A cat sleeps", "Stocks fell"]})
    >>> index = notes.ollama.index("text", model="all-minilm")
    >>> table = add(index, lancedb.connect("lance"), "notes")
    >>> query(table, "kitten", k=1)["text"].tolist()
    ['A cat sleeps']
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    found = records(index)
    table = pa.Table.from_pandas(found.rows.rename(columns=str), preserve_index=False)
    flat = pa.array(found.vectors.ravel())
    vectors = pa.FixedSizeListArray.from_arrays(flat, found.vectors.shape[1])
    for column, values in (("chunk", pa.array(found.chunks, pa.string())), ("vector", vectors)):
        if column in table.column_names:
            table = table.rename_columns(
                [f"{one}_" if one == column else one for one in table.column_names]
            )
        table = table.append_column(column, values)
    metadata = {SETTINGS: described(index.settings)}
    return database.create_table(name, table.replace_schema_metadata(metadata), mode="overwrite")


def query(table: Any, text: str, k: int = 5, where: str | None = None) -> pd.DataFrame:
    """Return the ``k`` records of a table nearest to a text, with their similarity, best first.

    Parameters
    ----------
    table : lancedb.table.Table
        A table of `add`.
    text : str
        The query; it is embedded by the model of the index, with its prefix.
    k : int
        The number of records.
    where : str, optional
        A condition of SQL on the columns.

    Returns
    -------
    DataFrame
        The columns of the rows, "chunk" and "similarity".

    Raises
    ------
    OllamaMagicsError
        If the table is not one of `add`, or the server lacks the model.
    """
    metadata = table.schema.metadata or {}
    vector = asked(text, k, metadata.get(SETTINGS.encode(), b"").decode())
    search = table.search(vector, vector_column_name="vector").distance_type("cosine")
    found = (search.where(where, prefilter=True) if where else search).limit(k).to_pandas()
    return scored(found.drop(columns=["vector", "_distance"]), found["vector"], vector)
