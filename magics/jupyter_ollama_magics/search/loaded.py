"""The part of an index that searches keep in memory: vectors, and the rows that have each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .index_file import IndexFile
from .vectors import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .words import Words

BATCH = 50_000
"""The vectors that are read at a time."""

_TEXTS = """
(SELECT hash, row_number() OVER (ORDER BY hash) - 1 AS text
 FROM (SELECT DISTINCT hash FROM ollama.texts)) AS numbered
"""
# A plain scan has the order of the row ids, which a join need not keep.
_CHUNKS = f"""
SELECT chunks.rowid AS id, coalesce(numbered.text, -1) AS text
FROM ollama.chunks AS chunks LEFT JOIN {_TEXTS} USING (hash) ORDER BY id
"""
_ROWS = f"""
SELECT position, numbered.text AS text FROM ollama.texts JOIN {_TEXTS} USING (hash)
ORDER BY text, position
"""


@dataclass
class Loaded:
    """The chunks of an index.

    ``ids`` are the row ids of the chunks and ``texts`` the numbers of their texts. ``row_texts``
    and ``row_positions`` are pairs of a text and a row that has it, in the order of the texts.
    """

    file: IndexFile
    generation: str
    vectors: Vectors
    ids: NDArray[np.int64]
    texts: NDArray[np.int64]
    row_texts: NDArray[np.int64]
    row_positions: NDArray[np.int64]

    @classmethod
    def read(cls, file: IndexFile) -> Loaded:
        """Read an index. Raises IndexChanged if it changes meanwhile."""
        generation = file.generation()
        with file.reading(generation) as connection:
            if not file.has_chunks(connection):
                none = np.empty(0, np.int64)
                nothing = Vectors(np.empty((0, 1), np.float32))
                return cls(file, generation, nothing, none, none, none, none)
            chunks = connection.sql(_CHUNKS).to_arrow_table()
            rows = connection.sql(_ROWS).to_arrow_table()
            array = np.empty((len(chunks), 0), np.float32)
            start = 0
            scan = connection.sql("SELECT vector FROM ollama.chunks")
            for batch in scan.to_arrow_reader(BATCH):
                vectors = np.asarray(batch.column(0).flatten()).reshape(len(batch), -1)
                if not start:
                    array = np.empty((len(chunks), vectors.shape[1]), np.float32)
                array[start : start + len(batch)] = vectors
                start += len(batch)
        ids, texts = (np.asarray(chunks.column(name), np.int64) for name in ("id", "text"))
        kept = texts >= 0  # others are of a build that goes on or was interrupted
        if not kept.all():
            array, ids, texts = array[kept], ids[kept], texts[kept]
        row_texts, positions = (np.asarray(rows.column(name)) for name in ("text", "position"))
        return cls(file, generation, Vectors(array), ids, texts, row_texts, positions)

    def positions(self, text: int) -> NDArray[np.int64]:
        """Return the positions of the rows that have a text."""
        start, stop = np.searchsorted(self.row_texts, [text, text + 1])
        return self.row_positions[start:stop]

    def allowed(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the chunks whose text is in one of the rows."""
        wanted = np.zeros(int(self.row_texts.max(initial=-1)) + 1, bool)
        wanted[self.row_texts[np.isin(self.row_positions, positions)]] = True
        return np.asarray(wanted[self.texts])

    def chunk_texts(self, chunks: Sequence[int]) -> list[str]:
        """Return the texts of some chunks."""
        if not chunks:
            return []
        ids = self.ids[list(chunks)].tolist()
        some = ",".join(map(str, ids))
        query = f"SELECT rowid, text FROM ollama.chunks WHERE rowid IN ({some})"
        with self.file.reading(self.generation) as connection:
            texts = dict(connection.sql(query).fetchall())
        return [texts[one] for one in ids]

    @cached_property
    def words(self) -> Words:
        """The words of all chunks."""
        from .words import Words

        if not len(self.ids):
            return Words([])
        with self.file.reading(self.generation) as connection:
            found = connection.sql("SELECT rowid, text FROM ollama.chunks").fetchall()
        texts = dict(found)
        return Words([texts[one] for one in self.ids.tolist()])
