"""The tables of an index: rows, the chunks of their texts, and the vectors of the chunks.

Tables are in a schema of their own, so that the file may hold a user's tables, too. The chunks of a
text are kept by the hash of the text: equal texts share them, and texts that stay in the data are
not embedded again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from .duckdb_file import DuckDBFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
"""The version of the tables; others are refused."""
POSITION = "__position"
"""The column of the rows' numbers, from 0."""
WHERE = 'where is one condition of SQL on the columns, such as "year > 2020".'

_TABLES = """
CREATE SCHEMA IF NOT EXISTS ollama;
CREATE TABLE IF NOT EXISTS ollama.about (name VARCHAR PRIMARY KEY, value VARCHAR);
CREATE TABLE IF NOT EXISTS ollama.texts (position BIGINT, hash VARCHAR);
"""


class IndexChanged(Exception):
    """Another process has changed the rows since they were read."""


@dataclass(frozen=True)
class Settings:
    """What the vectors of an index depend on, and the column that it is of."""

    column: str
    model: str
    digest: str
    document_prefix: str
    query_prefix: str
    chunk_tokens: int
    overlap: int

    def makes_other_vectors(self, than: Settings) -> bool:
        """Return whether the chunks or vectors differ from those of other settings."""
        free = {"column": "", "model": "", "query_prefix": ""}
        return {**asdict(self), **free} != {**asdict(than), **free}


@dataclass
class Chunk:
    """A part of a text, and its place among the parts."""

    hash: str
    place: int
    text: str


def text_hash(text: str) -> str:
    """Return the hash by which the chunks of a text are kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class IndexFile:
    """Reads and changes the tables of an index."""

    def __init__(self, path: Path | None) -> None:
        self.database = DuckDBFile(path)

    def settings(self) -> Settings | None:
        """Return the settings; None if the database has no index yet."""
        path = self.database.path
        if path and not path.exists():
            return None
        with self.database.reading() as connection:
            found = _about(connection)
        if not found:
            return None
        if int(found["format"]) != FORMAT:
            raise OllamaMagicsError(
                f"{path} has an index of format {found['format']}, and this version reads format "
                f"{FORMAT}: delete the file, and make the index again."
            )
        return Settings(**json.loads(found["settings"]))

    def begin(self, settings: Settings) -> set[str]:
        """Create missing tables; return the hashes of the texts that have chunks.

        Chunks of other settings are deleted.
        """
        before = self.settings()
        with self.database.writing() as connection:
            connection.execute(_TABLES)
            values = {"format": str(FORMAT), "settings": json.dumps(asdict(settings))}
            if before is None or settings.makes_other_vectors(before):
                connection.execute("DROP TABLE IF EXISTS ollama.chunks")
                values["generation"] = secrets.token_hex(8)
            _describe(connection, values)
            if not self.has_chunks(connection):
                return set()
            hashes = connection.sql("SELECT DISTINCT hash FROM ollama.chunks").fetchall()
        return {row[0] for row in hashes}

    def add(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32]) -> None:
        """Keep chunks with their unit vectors (chunks, dimensions): all of them or none."""
        import pyarrow as pa  # type: ignore[import-untyped]

        size = vectors.shape[1]
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
        table = pa.table(
            {
                "hash": [chunk.hash for chunk in chunks],
                "place": pa.array([chunk.place for chunk in chunks], pa.int32()),
                "text": [_storable(chunk.text) for chunk in chunks],
                "vector": pa.FixedSizeListArray.from_arrays(flat, size),
            }
        )
        with self.database.writing() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS ollama.chunks "
                f"(hash VARCHAR, place INTEGER, text VARCHAR, vector FLOAT[{size}])"
            )
            connection.register("new_chunks", table)
            connection.execute("INSERT INTO ollama.chunks SELECT * FROM new_chunks")
            connection.unregister("new_chunks")

    def finish(self, frame: pd.DataFrame, hashes: Sequence[str | None]) -> None:
        """Replace the rows by those of ``frame``; delete the chunks of texts that are gone."""
        import pyarrow as pa

        rows = _table(frame)
        positions = np.arange(len(frame))
        metadata = (rows.schema.metadata or {}).get(b"pandas", b"{}").decode()
        rows = rows.append_column(POSITION, pa.array(positions))
        present = [(place, hash) for place, hash in enumerate(hashes) if hash is not None]
        texts = pa.table(
            {
                "position": pa.array([place for place, _ in present], pa.int64()),
                "hash": pa.array([hash for _, hash in present], pa.string()),
            }
        )
        with self.database.writing() as connection:
            connection.register("new_rows", rows)
            connection.register("new_texts", texts)
            connection.execute("CREATE OR REPLACE TABLE ollama.rows AS SELECT * FROM new_rows")
            connection.execute("CREATE OR REPLACE TABLE ollama.texts AS SELECT * FROM new_texts")
            connection.unregister("new_rows")
            connection.unregister("new_texts")
            if self.has_chunks(connection):
                connection.execute(
                    "DELETE FROM ollama.chunks WHERE hash NOT IN (SELECT hash FROM ollama.texts)"
                )
            _describe(connection, {"pandas": metadata, "generation": secrets.token_hex(8)})

    def has_chunks(self, connection: Any) -> bool:
        """Return whether a text of the index was ever embedded."""
        return _has_table(connection, "chunks")

    def generation(self) -> str:
        """Return a text that differs after each change of the rows.

        Raises OllamaMagicsError if the first build was not finished.
        """
        with self.database.reading() as connection:
            about = _about(connection)
        if "pandas" not in about:
            raise OllamaMagicsError(
                "The index was interrupted before it had all rows: .ollama.index continues it."
            )
        return about["generation"]

    @contextmanager
    def reading(self, generation: str) -> Iterator[Any]:
        """Yield a connection. Raises IndexChanged if the rows are of another generation."""
        with self.database.reading() as connection:
            if _about(connection).get("generation", "") != generation:
                raise IndexChanged
            yield connection

    def where(self, condition: str, generation: str) -> NDArray[np.int64]:
        """Return the positions of the rows that fulfil an SQL condition on their columns."""
        if not isinstance(condition, str):
            raise OllamaMagicsError(WHERE)
        query = f"SELECT {POSITION} FROM ollama.rows WHERE ({condition}\n)"
        with self.reading(generation) as connection:
            if len(connection.extract_statements(query)) != 1:
                raise OllamaMagicsError(WHERE)
            found = connection.sql(query).to_arrow_table().column(0).to_numpy()
        return np.asarray(found)

    def rows(self, positions: Iterable[int], generation: str) -> pd.DataFrame:
        """Return rows by their positions, in that order, with their index and dtypes."""
        wanted = list(map(int, positions))
        places = ",".join(map(str, wanted)) or "-1"
        query = f"SELECT * FROM ollama.rows WHERE {POSITION} IN ({places})"
        with self.reading(generation) as connection:
            table = connection.sql(query).to_arrow_table()
            metadata = _about(connection)["pandas"]
        order = np.argsort(table.column(POSITION).to_numpy())
        ranks = {place: rank for rank, place in enumerate(sorted(set(wanted)))}
        table = table.drop_columns([POSITION]).replace_schema_metadata({b"pandas": metadata})
        frame: pd.DataFrame = table.to_pandas()
        return _typed(frame, metadata).iloc[order[[ranks[place] for place in wanted]]]


def _has_table(connection: Any, name: str) -> bool:
    query = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'ollama' AND table_name = ?"
    return bool(connection.execute(query, [name]).fetchall())


def _about(connection: Any) -> dict[str, str]:
    if not _has_table(connection, "about"):
        return {}
    return dict(connection.sql("SELECT name, value FROM ollama.about").fetchall())


def _describe(connection: Any, values: dict[str, str]) -> None:
    for item in values.items():
        connection.execute("INSERT OR REPLACE INTO ollama.about VALUES (?, ?)", list(item))


def _table(frame: pd.DataFrame) -> Any:
    """Return the rows as a table of Arrow, with the index."""
    import pyarrow as pa

    frame = frame.rename(columns=str)
    if POSITION in frame.columns:
        raise OllamaMagicsError(f"An index has a column {POSITION} of its own: rename yours.")
    try:
        return pa.Table.from_pandas(frame, preserve_index=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = " ".join(str(part) for part in error.args)
        raise OllamaMagicsError(f"The rows cannot be kept in DuckDB: {reason}") from error


def _typed(frame: pd.DataFrame, metadata: str) -> pd.DataFrame:
    """Return rows with categories where the data had them: DuckDB keeps these as texts."""
    columns = json.loads(metadata).get("columns") or []
    names = [column["name"] for column in columns if column["pandas_type"] == "categorical"]
    return frame.astype({name: "category" for name in names if name in frame.columns})


def _storable(text: str) -> str:
    """Return a text without lone surrogates, which Arrow cannot encode."""
    return text.encode("utf-8", "replace").decode()
