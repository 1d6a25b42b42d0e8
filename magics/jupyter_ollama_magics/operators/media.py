"""Rows with images and sounds: columns of files beside the text of each row.

A file is read when its row is sent, and files with the same content and text are sent once.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import attachments
from ..failures import OllamaMagicsError
from ..rows import texts as row_texts
from ..rows.registry import RowOperator
from ..rows.tasks import Chat, messages
from ..servers import Servers
from .label_chat import CLASSIFY
from .plain import EXTRACT

if TYPE_CHECKING:
    from ..rows.dispatch import Dispatcher

NOUNS = {"images": "image", "audio": "sound"}
CAPABILITIES = {"images": "vision", "audio": "audio"}
READERS = {"images": attachments.read_image, "audio": attachments.read_sound}

Columns = Mapping[str, Sequence[pd.Series]]
"""The columns of "images" and of "audio"."""


class FileText(str):
    """The text of a row with files. Rows with the same text and files have equal texts.

    ``files`` are pairs of "images" or "audio" and a value of the column.
    """

    __slots__ = ("content", "files")

    content: str
    files: list[tuple[str, Any]]

    def __new__(cls, content: str, files: list[tuple[str, Any]], by_content: bool) -> FileText:
        marks = [_identity(value, by_content) for _, value in files]
        made = super().__new__(cls, "\n".join([content, *marks]))
        made.content, made.files = content, files
        return made

    def read(self) -> tuple[bytes, list[str]]:
        """Return the hash of the content and the files in base64. Raises ValueError."""
        try:
            contents = [
                attachments.content_of(NOUNS[kind], value, READERS[kind])
                for kind, value in self.files
            ]
        except OllamaMagicsError as error:
            raise ValueError(str(error).rstrip(".")) from None
        hashes = [hashlib.sha256(one).digest() for one in contents]
        digest = hashlib.sha256(self.content.encode("utf-8", "surrogatepass") + b"".join(hashes))
        return digest.digest(), [base64.b64encode(one).decode() for one in contents]


class FileChat:
    """The answers of a model to texts with files; a task of rows."""

    def __init__(self, chat: Chat) -> None:
        self.model, self.in_flight, self.parse = chat.model, chat.in_flight, chat.parse
        self._chat = chat
        self._asked: dict[tuple[Dispatcher, bytes], asyncio.Future[str]] = {}

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["files", *self._chat.identity()]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put each row into a request of its own."""
        return ([text] for text in texts)

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the answer to the only row. Raises ValueError if a file cannot be read."""
        (row,) = texts
        assert isinstance(row, FileText)
        digest, files = await asyncio.to_thread(row.read)
        # A cascade has a dispatcher for each row, which measures how sure its answer is.
        key = (http, digest)
        asked = self._asked.get(key)
        if asked is None:
            asked = asyncio.ensure_future(self._ask(http, row.content, files))
            self._asked[key] = asked
        try:
            return [await asyncio.shield(asked)]
        except asyncio.CancelledError:
            asked.cancel()
            raise

    async def _ask(self, http: Dispatcher, text: str, files: list[str]) -> str:
        *before, last = messages(self._chat.system, text, self._chat.turns)
        return await self._chat.ask(http, [*before, {**last, "images": files}])


@dataclass(frozen=True)
class FileRows:
    """The arguments ``images`` and ``audio`` of a call, and its data.

    ``by_content`` recognizes files by their content before they are sent, as a cache needs it for
    values in memory.
    """

    data: pd.Series | pd.DataFrame
    named: Mapping[str, Any]
    by_content: bool = False

    def operator(self, operator: RowOperator) -> RowOperator:
        """Return an operator that sends the files, too. Raises OllamaMagicsError."""
        first, *others = [CAPABILITIES[kind] for kind in self.named]
        if operator.capability != "completion":
            raise OllamaMagicsError(
                f"{' and '.join(self.named)}: /api/embed takes texts alone. "
                "Describe the files by chat, and embed the answers."
            )

        def task(servers: Servers, model: str) -> FileChat:
            for other in others:
                servers.having(model, other)
            try:
                made = operator.task(without_score(servers), model)
            except OllamaMagicsError as error:
                if "/api/score" not in str(error):
                    raise
                made = None
            if not isinstance(made, Chat):
                raise OllamaMagicsError(
                    f"{' and '.join(self.named)}: probabilities come from /api/score, "
                    "which takes texts alone."
                )
            return FileChat(self._about_files(made))

        return dataclasses.replace(operator, capability=first, task=task)

    def fill(self, data: Any, prompt: Any) -> list[str | None]:
        """Return the texts of ``data``. Raises OllamaMagicsError for other rows, as of examples."""
        if data is not self.data:
            if not len(data):
                return []
            raise OllamaMagicsError(f"{' and '.join(self.named)}: examples are texts alone.")
        return self.texts(prompt)

    def texts(self, prompt: Any) -> list[str | None]:
        """Return the texts of the rows, with their files. Raises OllamaMagicsError."""
        files = self._columns()
        contents = self._contents(prompt, files)
        columns = [(kind, one.tolist()) for kind, some in files.items() for one in some]
        made: list[str | None] = []
        for row, content in enumerate(contents):
            found = [(kind, one) for kind, values in columns for one in _several(values[row])]
            missing = any(_is_missing(values[row]) for _, values in columns)
            made.append(
                None if missing or content is None else FileText(content, found, self.by_content)
            )
        return made

    def _columns(self) -> dict[str, list[pd.Series]]:
        data = self.data
        if isinstance(data, pd.DataFrame):
            return {kind: [_column(data, kind, one) for one in _listed(value)]
                    for kind, value in self.named.items()}  # fmt: skip
        if list(self.named.values()) != [True]:
            raise OllamaMagicsError(
                "images=True or audio=True of a Series: its values are the files. "
                "A DataFrame takes the name of a column."
            )
        return {kind: [data] for kind in self.named}

    def _contents(self, prompt: Any, files: Columns) -> list[str | None]:
        data = self.data
        if prompt is None or isinstance(data, pd.Series):
            return [prompt or ""] * len(data)
        own = {str(one.name): NOUNS[kind] for kind, some in files.items() for one in some}
        if prompt in data.columns and prompt not in own:
            return row_texts.column_texts(data[prompt], ".ollama")
        fields = {str(name): data.iloc[:, at] for at, name in enumerate(data)}
        fields |= {name: pd.Series(f"the {noun}", data.index) for name, noun in own.items()}
        if not any(f"{{{name}" in prompt for name in fields):
            return [prompt] * len(data)
        return row_texts.fill_template(prompt, fields, None)

    def _about_files(self, chat: Chat) -> Chat:
        """Return a chat whose default system message speaks of files instead of texts."""
        if not (chat.system or "").startswith((EXTRACT, CLASSIFY)):
            return chat
        nouns = " and ".join(f"the {NOUNS[kind]}" for kind in self.named)
        system = str(chat.system).replace("the text", nouns, 1)
        return dataclasses.replace(chat, system=system)


class _WithoutScore(Servers):
    def can_score(self, model: str) -> bool:
        return False


def without_score(servers: Servers) -> Servers:
    """Return servers whose answers to files are words, since /api/score takes none."""
    return _WithoutScore(
        servers.connections, servers.model, servers.embed_model, shared=servers.shared
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _column(data: pd.DataFrame, kind: str, name: Any) -> pd.Series:
    if name is True or list(data.columns).count(name) != 1:
        known = ", ".join(map(str, data.columns))
        raise OllamaMagicsError(f"{kind} of a DataFrame names a column: one of {known}.")
    column: pd.Series = data[name]
    return column


def _several(value: Any) -> list[Any]:
    return [*value] if isinstance(value, list | tuple) else [value]


def _is_missing(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return not value or any(map(_is_missing, value))
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _identity(value: Any, by_content: bool) -> str:
    """Return what distinguishes a file from others, without reading it where that is possible."""
    if isinstance(value, str | os.PathLike):
        path = Path(value).expanduser().absolute()
        try:
            known = path.stat()
        except OSError:
            return f"{path} missing"
        return f"{path} {known.st_size} {known.st_mtime_ns}"
    if isinstance(value, bytes | bytearray | memoryview):
        return hashlib.sha256(value).hexdigest()
    if hasattr(value, "file_identity"):
        return str(value.file_identity())
    if by_content:
        try:
            return hashlib.sha256(attachments.read_image("image", value)).hexdigest()
        except OllamaMagicsError:
            return repr(type(value))  # an error of its row
    # The row refers to the value, so no other value has its number while the row is known.
    return f"{type(value).__name__} {id(value)}"
