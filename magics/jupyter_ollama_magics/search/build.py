"""Bring an index up to date with a DataFrame: only new texts are embedded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..failures import Interrupted, OllamaMagicsError
from ..names import typed
from ..prefixes import prefixes_of
from ..reporting import reported
from ..rows import jobs as rows
from ..rows.progress import RowProgress
from ..rows.tasks import Embed
from ..rows.texts import column_texts
from ..servers import Servers
from .chunks import chunked
from .index_file import Chunk, IndexFile, Settings, text_hash
from .token_counts import TokenCounter

if TYPE_CHECKING:
    from jupyter_ollama_client.client import Client

FIRST_TEXTS, MOST_TEXTS = 64, 4096
"""The texts of a commit: more of them as long as one takes less than SECONDS."""
SECONDS = 4.0
SPARE = 8
"""Tokens of a context that are left to the ones that a model adds."""


class IndexInterrupted(Interrupted):
    """An interrupt that says how many texts are in the file."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(
            f"{done} of {total} new texts are embedded and kept; the same call continues."
        )

    def _render_traceback_(self) -> list[str]:
        return [f"\x1b[31mInterrupted:\x1b[0m {self}"]


@dataclass(frozen=True)
class Wanted:
    """The arguments of ``.ollama.index``; None stands for the model's own prefixes."""

    column: str
    model: str | None
    query_prefix: str | None
    document_prefix: str | None
    chunk_tokens: int
    overlap: int


class Builder:
    """Embeds the new texts of a column into an index file."""

    def __init__(self, file: IndexFile, servers: Servers, wanted: Wanted) -> None:
        self._file = file
        self._servers = servers
        self._wanted = wanted
        self.embedded = 0

    def update(self, frame: pd.DataFrame, column: pd.Series) -> Settings:
        """Embed the texts that the file lacks, then replace its rows by those of ``frame``.

        Texts are committed in groups; an interrupted build continues where it stopped.

        Raises
        ------
        OllamaMagicsError
            If the column has other values than texts, or a request fails.
        IndexInterrupted
            If the kernel is interrupted.
        """
        given = column_texts(column, ".ollama.index")
        texts = [text if text and text.strip() else None for text in given]
        hashes = [None if text is None else text_hash(text) for text in texts]
        by_hash = dict(zip(hashes, texts, strict=True))
        new: list[str] = []
        try:
            with closing(self._servers) as servers:
                name = servers.choose(self._wanted.model, "embedding")
                with reported(servers.connections[0], name):
                    clients, digest = servers.having(name, "embedding")
                    settings = self._settings(name, digest, clients[0].show(name))
                    kept = self._file.begin(settings)
                    new += [text for hash, text in by_hash.items() if text and hash not in kept]
                    self._embed(new, settings, clients)
        except KeyboardInterrupt:
            raise IndexInterrupted(self.embedded, len(new)) from None
        self._file.finish(frame, hashes)
        return settings

    def _settings(self, name: str, digest: str, shown: dict[str, Any]) -> Settings:
        wanted, own = self._wanted, prefixes_of(name, shown)
        info = shown.get("model_info") or {}
        context = info.get(f"{info.get('general.architecture')}.context_length") or 0
        document = own.document if wanted.document_prefix is None else wanted.document_prefix
        query = own.query if wanted.query_prefix is None else wanted.query_prefix
        size = wanted.chunk_tokens
        if context:
            size = min(size, max(int(context) - SPARE - len(document.encode()), 1))
        overlap = min(wanted.overlap, size - 1)
        return Settings(wanted.column, name, digest, document, query, size, overlap)

    def _embed(self, texts: Sequence[str], settings: Settings, clients: Sequence[Client]) -> None:
        group, start = FIRST_TEXTS, 0
        counter = TokenCounter(settings.model, settings.digest, clients)
        try:
            with RowProgress(lambda: self.embedded, len(texts)) as bar:
                while start < len(texts):
                    began = time.monotonic()
                    self._commit(texts[start : start + group], settings, counter, clients)
                    start += group
                    self.embedded = min(start, len(texts))
                    if time.monotonic() - began < SECONDS:
                        group = min(2 * group, MOST_TEXTS)
                    if time.monotonic() - bar.started >= rows.PROGRESS_AFTER:
                        bar.show()
        except rows.RowFailed as error:
            start_of = " ".join(error.text.split())[:40]
            raise OllamaMagicsError(typed(f"The text {start_of}…: {error}.")) from None

    def _commit(
        self,
        texts: Sequence[str],
        settings: Settings,
        counter: TokenCounter,
        clients: Sequence[Client],
    ) -> None:
        cut = chunked(texts, settings.chunk_tokens, settings.overlap, counter)
        chunks = [
            Chunk(text_hash(text), place, part)
            for text, parts in zip(texts, cut, strict=True)
            for place, part in enumerate(parts)
        ]
        task = Embed(settings.model, prefix=settings.document_prefix)
        job = rows.RowJob(task, settings.digest, [chunk.text for chunk in chunks], strict=True)
        rows.run(job, clients, progress=False)
        vectors = np.stack([job.answers[chunk.text] for chunk in chunks])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._file.add(chunks, vectors / np.maximum(lengths, np.finfo(np.float32).tiny))
